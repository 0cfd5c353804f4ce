import type { RepositoryName, Tag } from '../../oci/reference.ts'
import { RetentionRules } from './rules.ts'

/** What says which tags go by themselves. Built once, in `server/retention.ts`. */
export interface Retention {
  readonly rules: RetentionRules
  /** Whether everybody is denied to delete a tag, by the rules of access as they are now. */
  readonly protection: () => Promise<Protects>
  /** Whose pulls do not count; `anonymous` for those of nobody known. */
  readonly ignoresPullsOf: ReadonlySet<string>
}

export type Protects = (repository: RepositoryName, tag: Tag) => boolean

/** No rule, so nothing goes. */
export const NO_RETENTION: Retention = {
  rules: new RetentionRules([]),
  protection: async () => () => false,
  ignoresPullsOf: new Set(),
}

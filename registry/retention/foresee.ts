import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { RunDocument } from '../../storage/metadata/retention-runs.ts'
import type { Registry } from '../registry.ts'
import { freedBy, type Selection } from '../sizes.ts'
import {
  hostedRepositories,
  type JudgedTag,
  judgedTags,
  type RepositoryRules,
  type Terms,
} from './survey.ts'

/** Names that are told of all that go, and repositories. */
const TOLD_TAGS = 10_000
const TOLD_REPOSITORIES = 1000

/** Tags for which it is found out what goes with all of them together. */
const SUMMED_TAGS = 100_000

/** What the rules would do right now. */
export interface Foreseen extends Pick<RunDocument, 'tags' | 'isWhole'> {
  /** Tags that stay, of the repositories of which a rule deletes some. */
  readonly kept: number
  readonly deleted: number
  /** That go in the end, of blobs and manifests. */
  readonly bytes: number
  /** Whether more may go than that: what several repositories share, when there were too many. */
  readonly isAtLeast: boolean
  /** Those with tags that go, in byte order: as many as there are. */
  readonly repositories: readonly ForeseenRepository[]
}

interface ForeseenRepository {
  readonly repository: RepositoryName
  readonly kept: number
  readonly deleted: number
  readonly bytes: number
}

export interface Foresight {
  readonly terms: Terms
  /** Of the repositories to look at. */
  readonly wanted: (repository: RepositoryName) => boolean
  /** Whether to look at repositories as well of which no rule deletes any; their tags do not count. */
  readonly all?: boolean
  /** Is told each tag, of one repository after the other in byte order, and waited for. */
  readonly onTags?: (tags: readonly JudgedTag[]) => Promise<void> | void
  readonly signal?: AbortSignal | undefined
}

/** Judges every tag, and changes nothing. */
export async function foresee(
  registry: Pick<Registry, 'db' | 'retention'>,
  foresight: Foresight,
): Promise<Foreseen> {
  const { db } = registry
  const { wanted, all = false } = foresight
  const sum = { kept: 0, deleted: 0, bytes: 0 }
  const repositories: ForeseenRepository[] = []
  const told: string[] = []
  const selected: { repository: RepositoryName; tag: Tag }[] = []
  for await (const each of hostedRepositories(registry, wanted)) {
    const isCounted = each.rules.some((rule) => rule.delete !== undefined)
    if (!isCounted && !all) continue
    const { kept, tags } = await foreseeRepository(registry, each, foresight)
    if (!isCounted) continue
    sum.kept += kept
    if (tags.length === 0) continue
    const repository = each.repository.name
    const named = tags.map((tag) => ({ repository, tag }))
    const { bytes } = await freedBy(db, selectionOf(named))
    repositories.push({ repository, kept, deleted: tags.length, bytes })
    sum.deleted += tags.length
    sum.bytes += bytes
    told.push(...tags.slice(0, TOLD_TAGS - told.length).map((tag) => `${repository}:${tag}`))
    // One more tells that there were too many.
    for (const one of named) if (selected.length <= SUMMED_TAGS) selected.push(one)
  }
  const isSummed = repositories.length > 1 && selected.length <= SUMMED_TAGS
  if (isSummed) sum.bytes = (await freedBy(db, selectionOf(selected))).bytes
  return {
    ...sum,
    isAtLeast: repositories.length > 1 && !isSummed,
    repositories,
    tags: told,
    isWhole: told.length === sum.deleted,
  }
}

async function foreseeRepository(
  { db }: Pick<Registry, 'db'>,
  each: RepositoryRules,
  { terms, onTags, signal }: Foresight,
): Promise<{ readonly kept: number; readonly tags: Tag[] }> {
  let kept = 0
  const tags: Tag[] = []
  for await (const page of judgedTags(db, each, terms)) {
    signal?.throwIfAborted()
    for (const { tag, deletes } of page) {
      if (deletes) tags.push(tag)
      else kept++
    }
    await onTags?.(page)
  }
  return { kept, tags }
}

function selectionOf(tags: Selection['tags']): Selection {
  return { repositories: [], tags, manifests: [] }
}

/** What is recorded of it. */
export function documentOf(
  rules: string,
  { tags, isWhole, repositories }: Pick<Foreseen, 'tags' | 'isWhole' | 'repositories'>,
  glob?: string,
): RunDocument {
  const few = repositories.slice(0, TOLD_REPOSITORIES)
  return { rules, ...(glob !== undefined && { glob }), tags, isWhole, repositories: few }
}

import type { Restoring } from '../registry/undo/restore-content.ts'
import { keepingOf } from '../server/keeping.ts'
import { insertAuditEvents } from '../storage/metadata/audit.ts'
import { withAccess } from './access.ts'
import { contentOf } from './content.ts'
import type { CommandOptions } from './usage.ts'

/** What was done, for the audit trail. */
interface Deed {
  readonly action: string
  readonly repository?: string | undefined
  readonly target?: string | undefined
}

export interface Restorer {
  readonly registry: Restoring
  /** Who the audit trail says it was. */
  readonly actor: string | undefined
  readonly record: (deed: Deed) => Promise<void>
}

/** Runs `work` on what was deleted, or is about to be. */
export function withRestoring<T>(
  options: CommandOptions,
  work: (restorer: Restorer) => Promise<T>,
): Promise<T> {
  return withAccess(options, async ({ control, actor: { subject: actor }, config }) => {
    const { db } = control
    const registry: Restoring = {
      ...contentOf({ control }),
      keeping: keepingOf(config),
      faultPoint: () => {},
    }
    const record = (deed: Deed) => insertAuditEvents(db, [{ actor, ...deed, result: 'done' }])
    return work({ registry, actor, record })
  })
}

/** Whoever can reach the database may do everything. */
export const PERMITTED = () => true

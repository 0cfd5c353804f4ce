import { advanceAccessVersion } from '../storage/metadata/access-version.ts'
import { type AuditEvent, insertAuditEvents } from '../storage/metadata/audit.ts'
import type { Announce } from '../storage/metadata/changes.ts'
import { type Transaction, transaction } from '../storage/metadata/database.ts'
import type { AccessControl, Actor } from './access-control.ts'

/** Says, within the transaction, what the change is called in the audit trail. */
export type RecordEvent = (
  event: Pick<AuditEvent, 'action' | 'target' | 'detail' | 'repository'>,
) => Promise<void>

/**
 * Runs `change` in a transaction, one such at a time in the whole database, and returns when no
 * process goes by what was before. What is recorded of it stands in the audit trail when it
 * happened, and only then.
 *
 * @param waits false for what takes nothing away from anybody: the others hear of it soon
 */
export async function changing<T>(
  { db, records, changes }: Pick<AccessControl, 'db' | 'records' | 'changes'>,
  { subject, address, requestId }: Actor,
  change: (tx: Transaction, record: RecordEvent) => Promise<T>,
  waits = true,
): Promise<T> {
  const work = async (announce?: Announce) => {
    try {
      return await transaction(db, async (tx) => {
        await advanceAccessVersion(tx)
        const result = await change(tx, (event) =>
          insertAuditEvents(tx, [{ ...event, actor: subject, address, requestId, result: 'done' }]),
        )
        await announce?.(tx, { kind: 'access changed' })
        return result
      })
    } finally {
      records.forget()
    }
  }
  if (changes === undefined) return work()
  return waits ? changes.settling(work) : changes.announcing(work)
}

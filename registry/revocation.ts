import type { Announce, Revocation } from '../storage/metadata/changes.ts'
import { type Transaction, transaction } from '../storage/metadata/database.ts'
import { forgetting } from './metadata-cache.ts'
import type { Registry } from './registry.ts'

/** Says, within the transaction, what will not be true any more when it has committed. */
export type Revoke = (revoked: Revocation) => Promise<void>

/**
 * Runs `change` in a transaction that may make remembered answers untrue, and returns when no
 * process gives them any more: at once in a process that is alone, when the others have answered
 * where there are any, and after some seconds when one of them does not. What `change` throws
 * comes without delay.
 */
export function revoking<T>(
  { db, cache, changes }: Pick<Registry, 'db' | 'cache' | 'changes'>,
  change: (tx: Transaction, revoke: Revoke) => Promise<T>,
): Promise<T> {
  const work = (announce?: Announce) => {
    const revoked: Revocation[] = []
    const run = (tx: Transaction) =>
      change(tx, async (what) => {
        revoked.push(what)
        await announce?.(tx, { kind: 'revoked', ...what })
      })
    return forgetting(
      () => revoked.forEach((what) => cache.revoke(what)),
      () => transaction(db, run),
    )
  }
  return changes === undefined ? work() : changes.settling(work)
}

import type { Announce, Changes, Revocation } from '../storage/metadata/changes.ts'
import { type Transaction, transaction } from '../storage/metadata/database.ts'
import { forgetting } from './metadata-cache.ts'
import type { Registry } from './registry.ts'

/** Says, within the transaction, what will not be true any more when it has committed. */
export type Revoke = (revoked: Revocation) => Promise<void>

type Change<T> = (tx: Transaction, revoke: Revoke) => Promise<T>

/** What it takes to revoke something, which commands have as well. */
export type Revoking = Pick<Registry, 'db' | 'cache'> & {
  readonly changes?: Pick<Changes, 'settling'> | undefined
}

/**
 * Runs `change` in a transaction that may make remembered answers untrue, and returns when no
 * process gives them any more: at once in a process that is alone, when the others have answered
 * where there are any, and after some seconds when one of them does not. What `change` throws
 * comes without delay.
 */
export function revoking<T>(registry: Revoking, change: Change<T>): Promise<T> {
  return revokingInTurn(registry, (commit) => commit(change))
}

/**
 * The same for changes that take several transactions: each `commit` runs one of them, and the
 * others are waited for once, at the end.
 */
export function revokingInTurn<T>(
  { db, cache, changes }: Revoking,
  work: (commit: <R>(change: Change<R>) => Promise<R>) => Promise<T>,
): Promise<T> {
  const run = (announce?: Announce) =>
    work((change) => {
      const revoked: Revocation[] = []
      const revoke: (tx: Transaction) => Revoke = (tx) => async (what) => {
        revoked.push(what)
        await announce?.(tx, { kind: 'revoked', ...what })
      }
      return forgetting(
        () => revoked.forEach((what) => cache.revoke(what)),
        () => transaction(db, (tx) => change(tx, revoke(tx))),
      )
    })
  return changes === undefined ? run() : changes.settling(run)
}

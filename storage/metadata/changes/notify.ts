import type { Pool, Transaction } from '../database.ts'

/** Sends `payload`, which must be shorter than 8000 bytes, if and when the transaction commits. */
export async function notifyAtCommit(
  tx: Transaction,
  channel: string,
  payload: string,
): Promise<void> {
  await tx.query({ text: 'select pg_notify($1, $2)', values: [channel, payload] })
}

/** Sends `payload`, as short, now. There is nothing in it that a disk should keep. */
export async function notifyNow(db: Pool, channel: string, payload: string): Promise<void> {
  await db.query({
    text: `select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)`,
    values: [channel, payload],
  })
}

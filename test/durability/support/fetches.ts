import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { expect } from 'vitest'
import { findRunningServer } from '../../../postgres/running.ts'
import { dropExpiredUploads } from '../../../registry/expired-uploads.ts'
import { FilesystemBlobStore } from '../../../storage/blob/filesystem.ts'
import { openPool, type Pool } from '../../../storage/metadata/database.ts'
import { pruneFetches } from '../../../storage/metadata/fetches.ts'
import { openTestRegistry } from '../../support/registry.ts'
import { uploadFiles } from './inspect.ts'
import { until, type Workspace } from './workspace.ts'

/** To the embedded database of the server that runs on the workspace; closed after `work`. */
export async function withDatabase<T>(
  { data }: Workspace,
  work: (db: Pool) => Promise<T>,
): Promise<T> {
  const connection = await findRunningServer(path.join(data, 'postgres'))
  if (connection === undefined) throw new Error('no database runs')
  const db = openPool({ connection, size: 1, onError: () => {} })
  try {
    return await work(db)
  } finally {
    await db.end()
  }
}

export interface FetchRow {
  readonly isClaimed: boolean
  readonly uploadId: string | null
}

export async function fetchRows(db: Pool): Promise<FetchRow[]> {
  const { rows } = await db.query<FetchRow>(
    `select claimed_until > now() as "isClaimed", upload_id as "uploadId" from fetches`,
  )
  return rows
}

/** Clients have all bytes before the blob is kept. */
export async function untilFetchesEnd(db: Pool): Promise<void> {
  await until('the end of all fetches', async () => (await fetchRows(db)).length === 0)
}

/** What is left of fetches that broke off goes when its time is over: nothing stays for good. */
export async function expectNothingForGood(workspace: Workspace): Promise<void> {
  const { registry, close } = await openTestRegistry()
  try {
    await withDatabase(workspace, async (db) => {
      // A process that is alone keeps its claims until the next one starts.
      await db.query(
        `update upload_sessions set expires_at = '-infinity', writer_until = '-infinity'`,
      )
      await db.query(`update fetches set claimed_until = '-infinity'`)
      const blobs = new FilesystemBlobStore(workspace.storage)
      await dropExpiredUploads({ ...registry, db, blobs })
      await pruneFetches(db)
      expect(await fetchRows(db)).toEqual([])
    })
  } finally {
    await close()
  }
  expect([...(await uploadFiles(workspace.storage)).keys()]).toEqual([])
  expect(await spoolFiles(workspace.data)).toEqual([])
}

/** Names of files in which blobs grow whose store has none for it. */
export async function spoolFiles(data: string): Promise<string[]> {
  return readdir(path.join(data, 'spool')).catch(() => [])
}

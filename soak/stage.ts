import path from 'node:path'
import type { SettingKey } from '../config/settings.ts'
import type { BlobStore } from '../storage/blob/blob-store.ts'
import { FilesystemBlobStore } from '../storage/blob/filesystem.ts'
import { openPool, type Pool } from '../storage/metadata/database.ts'
import { openWorkspace, type Workspace } from '../test/durability/support/workspace.ts'
import { s3Variables } from '../test/support/s3.ts'
import { openS3Store } from '../test/support/s3-store.ts'
import { startSeparatePostgres } from '../test/support/separate-postgres.ts'
import type { StorageType } from './options.ts'
import { listFiles, type StoredPlace } from './stored-files.ts'

export type Settings = Readonly<Partial<Record<SettingKey, string>>>

/** A database and a storage that outlive every server. */
export interface Stage {
  readonly storage: StorageType
  readonly workspace: Workspace
  readonly db: Pool
  readonly blobs: BlobStore
  /** Of one replica, from 0. */
  settingsOf(this: void, replica: number): Settings
  readonly environment: NodeJS.ProcessEnv
  /** Where the bytes of blobs lie, and of uploads that may become one without being moved. */
  listPlaces(this: void): Promise<StoredPlace[]>
}

export async function openStage(storage: StorageType): Promise<Stage> {
  const workspace = await openWorkspace()
  try {
    const directory = path.join(workspace.folder, 'database')
    const { connection } = await startSeparatePostgres(directory, workspace.onClose)
    const { host, port, user, database } = connection
    const db = openPool({ connection, size: 4, onError: () => {} })
    workspace.onClose(() => db.end())
    return {
      storage,
      workspace,
      db,
      ...(storage === 's3' ? openBucket(workspace) : await openFolder(workspace)),
      settingsOf: (replica) => ({
        data: path.join(workspace.folder, `replica-${replica + 1}`),
        'database.url': `postgres://${user}@localhost:${port}/${database}?host=${host}`,
        'log.level': 'warn',
        'log.format': 'json',
        ...(storage === 's3' ? {} : { 'storage.root': workspace.storage }),
      }),
    }
  } catch (error) {
    await workspace.close()
    throw error
  }
}

async function openFolder({ storage }: Workspace) {
  const blobs = new FilesystemBlobStore(storage)
  await blobs.open()
  return { blobs, environment: {}, listPlaces: () => listFiles(storage) }
}

function openBucket(workspace: Workspace) {
  // As bin/slipway.cjs does it; servers inherit it.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true'
  const stored = openS3Store()
  workspace.onClose(() => stored.close())
  return {
    blobs: stored.store,
    environment: s3Variables(stored.settings.prefix),
    listPlaces: async () => {
      const { objects, multiparts } = await stored.contents()
      return [...objects, ...multiparts].map((location) => ({
        location,
        session: sessionOf(location),
      }))
    },
  }
}

/** `<prefix>/blobs/<2 digits>/<session>-<random>` */
function sessionOf(key: string): string {
  return path.posix.basename(key).slice(0, 36)
}

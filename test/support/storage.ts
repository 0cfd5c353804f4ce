import { rm, truncate } from 'node:fs/promises'
import path from 'node:path'
import type { BlobStore, Location } from '../../storage/blob/blob-store.ts'
import { FilesystemBlobStore } from '../../storage/blob/filesystem.ts'
import { countOpenFiles, countOpenRequests } from './open-handles.ts'
import { type OpenedS3Store, openS3Store } from './s3-store.ts'

/** Where the blobs of a test lie, with what can be done to them behind the server. */
export interface TestStorage {
  readonly blobs: BlobStore
  lose(location: Location): Promise<void>
  /** Leaves the first `bytes`. */
  shorten(location: Location, bytes: number): Promise<void>
  /** Files or requests that reads and writes have open. */
  openHandles(): Promise<number>
  close(this: void): Promise<void>
}

/**
 * Files below `root`, or objects in the bucket of the tests where SLIPWAY_TEST_STORAGE is s3: the
 * API has to be the same over each.
 */
export async function openTestStorage(root: string): Promise<TestStorage> {
  if (process.env['SLIPWAY_TEST_STORAGE'] === 's3') {
    await rm(root, { recursive: true, force: true })
    return storageOf(openS3Store())
  }
  const blobs = new FilesystemBlobStore(root)
  await blobs.open()
  return {
    blobs,
    lose: (location) => rm(path.join(root, location)),
    shorten: (location, bytes) => truncate(path.join(root, location), bytes),
    openHandles: () => countOpenFiles(root),
    close: () => rm(root, { recursive: true, force: true }),
  }
}

export function storageOf({ store, objects, settings, close }: OpenedS3Store): TestStorage {
  const { host } = new URL(settings.endpoint ?? '')
  return {
    blobs: store,
    lose: (location) => objects.delete(location),
    shorten: (location, bytes) => objects.put(location, Buffer.alloc(bytes)),
    openHandles: async () => countOpenRequests(host),
    close,
  }
}

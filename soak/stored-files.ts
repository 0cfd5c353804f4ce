import { readdir } from 'node:fs/promises'
import path from 'node:path'

/** What lies in a storage, besides what it needs for itself. */
export interface StoredPlace {
  readonly location: string
  /** Bytes of an upload session lie under its id. */
  readonly session?: string
}

const BLOBS = 'docker/registry/v2/blobs'

/** The files of blobs below the root of a storage in the filesystem. */
export async function listFiles(root: string): Promise<StoredPlace[]> {
  const entries = await readdir(path.join(root, BLOBS), { recursive: true })
  return entries
    .filter((entry) => path.basename(entry) === 'data')
    .map((entry) => ({ location: path.posix.join(BLOBS, entry) }))
}

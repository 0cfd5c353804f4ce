import { opendir, stat } from 'node:fs/promises'
import path from 'node:path'
import type { DigestAlgorithm } from '../../../oci/digest.ts'
import type { ReceivedBytes, StoredBytes, StoredItem } from '../blob-store.ts'
import { unlessMissing } from './failure.ts'
import { BLOBS, digestOfFolder, locationOf, REPOSITORIES, UPLOADS } from './layout.ts'

const ALGORITHMS: readonly DigestAlgorithm[] = ['sha256', 'sha512']

/** Everything below the root of a store. Memory does not grow with it. */
export async function* listFiles(root: string): AsyncIterable<StoredItem> {
  yield* listUploads(root)
  yield* listBlobs(root)
}

async function* listUploads(root: string): AsyncIterable<ReceivedBytes> {
  const folder = path.join(root, UPLOADS)
  for await (const { name } of await opendir(folder)) {
    const found = await unlessMissing(stat(path.join(folder, name)))
    if (found?.isFile() !== true) continue
    const { size: sizeBytes, mtime: modifiedAt } = found
    yield { kind: 'upload', session: name, sizeBytes, modifiedAt, state: { file: name } }
  }
}

async function* listBlobs(root: string): AsyncIterable<StoredBytes> {
  const blobs = path.join(root, BLOBS)
  await stat(blobs) // a volume that is not mounted is not an empty one
  const isShared = (await unlessMissing(stat(path.join(root, REPOSITORIES)))) !== undefined
  for (const algorithm of ALGORITHMS) {
    for await (const folder of foldersOf(path.join(blobs, algorithm))) {
      const found = await lookAt(root, algorithm, folder)
      if (found !== undefined) yield isShared ? { ...found, isForeign: true } : found
    }
  }
}

/** Names of the folders of blobs of one algorithm. */
async function* foldersOf(blobs: string): AsyncIterable<string> {
  for await (const shard of namesIn(blobs)) yield* namesIn(path.join(blobs, shard))
}

async function lookAt(
  root: string,
  algorithm: DigestAlgorithm,
  folder: string,
): Promise<StoredBytes | undefined> {
  const digest = digestOfFolder(algorithm, folder)
  if (digest === undefined) return undefined
  const location = locationOf(digest)
  const found = await unlessMissing(stat(path.join(root, location)))
  if (found?.isFile() !== true) return undefined
  return { kind: 'blob', location, digest, sizeBytes: found.size, modifiedAt: found.mtime }
}

/** Folders, also where there is none, or none any more. */
async function* namesIn(folder: string): AsyncIterable<string> {
  const opened = await unlessMissing(opendir(folder))
  if (opened === undefined) return
  for await (const entry of opened) if (entry.isDirectory()) yield entry.name
}

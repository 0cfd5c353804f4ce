import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseDigest } from '../../oci/digest.ts'
import { BLOBS, locationOf } from '../../storage/blob/filesystem/layout.ts'
import type { Content } from '../client/content.ts'

/** Makes the folders that blobs share, in a layout that both registries have. */
export function makeShards(root: string): void {
  for (let shard = 0; shard < 256; shard++) {
    const name = shard.toString(16).padStart(2, '0')
    mkdirSync(path.join(root, BLOBS, 'sha256', name), { recursive: true })
  }
}

/** Synchronous: of files this small, a hundred thousand take a third of the time so. */
export function writeBlob(root: string, { digest, bytes }: Content): void {
  const file = path.join(root, locationOf(parseDigest(digest)))
  mkdirSync(path.dirname(file))
  writeFileSync(file, bytes)
}

import { buffer } from 'node:stream/consumers'
import { describe } from 'vitest'
import { digestOf } from '../../../oci/digest.ts'
import { finishRemovals } from '../../../registry/blob-removal.ts'
import { readBlob, type StoredBlob } from '../../../registry/blobs.ts'
import { sweepOrphans } from '../../../registry/integrity/sweep.ts'
import type { Registry } from '../../../registry/registry.ts'
import { describeWithS3 } from '../../support/s3.ts'
import { openS3Store } from '../../support/s3-store.ts'
import { storageOf, type TestStorage } from '../../support/storage.ts'

/** Undefined: the usual one. */
export type OpenStorage = () => TestStorage | undefined

/** The same with bytes that lie under their digest, and with bytes under a key of their own. */
export function describeWithEachStore(name: string, body: (open: OpenStorage) => void): void {
  describe(`${name}, in a folder`, () => {
    body(() => undefined)
  })
  describeWithS3(`${name}, in S3`, () => body(() => storageOf(openS3Store())))
}

/** What servers do besides collecting, without waiting for the time at which they do it. */
export async function tidy(registry: Registry): Promise<void> {
  await finishRemovals(registry, { limit: 1000, settleMs: 0 })
  await sweepOrphans(registry, { olderThanSeconds: -60 })
}

/**
 * Everything that is wrong between rows and bytes: rows without bytes or with others, rows that are
 * still being deleted, bytes that no row names.
 */
export async function findFaults(registry: Registry): Promise<string[]> {
  const { rows } = await registry.db.query<StoredBlob & { state: string }>(
    'select digest, size_bytes::float8 as "sizeBytes", location, state from blobs',
  )
  const faults: string[] = []
  for (const { state, ...blob } of rows) {
    const read = buffer(readBlob(registry, blob) as AsyncIterable<Buffer>)
    const found = await read.then(digestOf, (error: unknown) => String(error))
    if (state !== 'live') faults.push(`${blob.digest} is ${state}`)
    else if (found !== blob.digest) faults.push(`${blob.digest} has other bytes: ${found}`)
  }
  const locations = new Set<string>(rows.map(({ location }) => location))
  for await (const item of registry.blobs.list()) {
    if (item.kind === 'blob' && !locations.has(item.location)) {
      faults.push(`no row names ${item.location}`)
    }
  }
  return faults
}

import { setImmediate as turn } from 'node:timers/promises'
import { expect } from 'vitest'
import type { BlobStore, ByteRange, Upload, UploadState } from '../../storage/blob/blob-store.ts'

export const KIB = 1024
export const MIB = 1024 * KIB
/** What drivers read at once: the sizes around it are where reads go wrong. */
export const CHUNK = 512 * KIB

/** As it comes back from the database: the state through JSON. */
export function stored({ state, ...rest }: Upload): Upload {
  return { ...rest, state: JSON.parse(JSON.stringify(state)) as UploadState }
}

export async function append(
  store: BlobStore,
  upload: Upload,
  chunks: readonly Buffer[],
  expectsMore = true,
): Promise<Upload> {
  const writer = await store.appendUpload(stored(upload), { expectsMore })
  for (const chunk of chunks) await writer.write(chunk)
  return writer.finish()
}

export function seal(store: BlobStore, upload: Upload): Promise<Upload> {
  return store.sealUpload(stored(upload))
}

/** Chunks are the store's own and used again: each is copied before the next is asked for. */
export async function bytesOf(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const copies: Buffer[] = []
  for await (const chunk of chunks) {
    await turn()
    copies.push(Buffer.from(chunk))
  }
  return Buffer.concat(copies)
}

export async function lengthOf(chunks: AsyncIterable<Uint8Array>): Promise<number> {
  let length = 0
  for await (const chunk of chunks) length += chunk.length
  return length
}

export function rangesOf(size: number): ByteRange[] {
  const points = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, size - 1].filter((at) => at < size && at >= 0)
  return points.flatMap((first) =>
    points.filter((last) => last >= first).map((last) => ({ first, last })),
  )
}

/** Not `toEqual`: a difference between megabytes takes a matcher minutes to print. */
export function expectSame(actual: Buffer, expected: Buffer): void {
  expect(actual.length).toBe(expected.length)
  expect(actual.equals(expected), 'same length, other bytes').toBe(true)
}

import { type FileHandle, open } from 'node:fs/promises'
import { BlobMissing, type ByteRange, type Location } from '../blob-store.ts'
import { unlessMissing } from './failure.ts'

/** Large enough that a read costs less than the bytes it brings, small enough for many at once. */
const CHUNK_BYTES = 512 * 1024

/**
 * Reads a file in large chunks. One chunk is read ahead while the caller works on the one
 * before it; both buffers are used again, so a read of any size costs two allocations.
 */
export async function* readFile(
  path: string,
  location: Location,
  range: ByteRange | undefined,
): AsyncIterable<Uint8Array> {
  const file = await openOrMissing(path, location)
  let ahead: Promise<Uint8Array> | undefined
  try {
    let position = range?.first ?? 0
    const end = range === undefined ? (await file.stat()).size : range.last + 1
    const chunkBytes = Math.min(CHUNK_BYTES, end - position)
    const buffers = [Buffer.allocUnsafeSlow(chunkBytes), Buffer.alloc(0)]
    if (end - position > chunkBytes) buffers[1] = Buffer.allocUnsafeSlow(chunkBytes)

    const readNext = (turn: number): Promise<Uint8Array> => {
      const at = position
      position = Math.min(end, position + chunkBytes)
      const next = readFully(file, buffers[turn % 2]!.subarray(0, position - at), at)
      next.catch(() => {}) // awaited one turn later
      return next
    }

    if (position < end) ahead = readNext(0)
    for (let turn = 1; ahead !== undefined; turn++) {
      const chunk = await ahead
      ahead = position < end ? readNext(turn) : undefined
      yield chunk
    }
  } finally {
    await ahead?.catch(() => {}) // the buffer must not be written after the file is closed
    await file.close()
  }
}

async function readFully(file: FileHandle, into: Buffer, position: number): Promise<Buffer> {
  let filled = 0
  while (filled < into.length) {
    const { bytesRead } = await file.read(into, filled, into.length - filled, position + filled)
    if (bytesRead === 0) throw new Error('the file is shorter than its recorded size')
    filled += bytesRead
  }
  return into
}

async function openOrMissing(path: string, location: Location): Promise<FileHandle> {
  const file = await unlessMissing(open(path, 'r'))
  if (file === undefined) throw new BlobMissing(location)
  return file
}

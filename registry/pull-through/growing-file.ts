import { type FileHandle, open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ByteRange } from '../../storage/blob/blob-store.ts'
import { unlessMissing } from '../../storage/blob/filesystem/failure.ts'
import { unlessAborted } from '../../upstream/deadline.ts'

/** A file that somebody writes, here or in another process. */
export interface Growth {
  /** Of the whole. */
  readonly sizeBytes: number
  /** `whole`: complete, and kept. */
  readonly state: 'growing' | 'whole' | 'failed'
  /** Whether all bytes have arrived, and have the digest that they should have. */
  readonly isVerified: boolean
  /** Why it failed. */
  readonly failure: unknown
  /** Bytes that were handed to whoever writes the file; they may take a moment to be in it. */
  readonly arrived: number
  /** Resolves when any of this has changed, or may have. Never rejects. */
  changed(): Promise<void>
}

/** Small, as there may be many readers of one file. */
const CHUNK_BYTES = 256 * 1024
const LAG_MS = 5

/**
 * The bytes of a range as they arrive. The last byte of the file is held back until its digest has
 * been verified, so that nobody takes other content for the whole.
 *
 * A chunk is valid until the next is asked for.
 *
 * @throws the growth's failure, or the signal's reason
 */
export async function* followFile(
  file: FileHandle,
  { first, last }: ByteRange,
  growth: Growth,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, last - first + 1))
  let position = first
  let isOpen = true
  try {
    while (position <= last) {
      const bytesRead = await readReady(file, { buffer, position, last }, growth)
      position += bytesRead
      if (position > last) {
        // Now, for the answer to end in the same moment as its last byte.
        isOpen = false
        await file.close()
      }
      if (bytesRead > 0) yield buffer.subarray(0, bytesRead)
      else await unlessAborted(progress(position, growth), signal)
    }
  } finally {
    if (isOpen) await file.close()
  }
}

interface Place {
  readonly buffer: Buffer
  readonly position: number
  readonly last: number
}

/** @returns how many bytes there are to read from there; 0: none yet */
async function readReady(
  file: FileHandle,
  { buffer, position, last }: Place,
  growth: Growth,
): Promise<number> {
  const { state, failure } = growth
  const end = Math.min(last + 1, readable(growth))
  const wanted = Math.min(buffer.length, end - position)
  if (wanted > 0) {
    const { bytesRead } = await file.read(buffer, 0, wanted, position)
    if (bytesRead > 0) return bytesRead
  }
  if (state === 'failed') throw failure
  if (state === 'whole') throw new Error('the file is shorter than its recorded size')
  return 0
}

/** How many bytes readers may have: the last one only of what is verified. */
function readable({ state, isVerified, sizeBytes }: Growth): number {
  return isVerified || state === 'whole' ? sizeBytes : sizeBytes - 1
}

/** Waits until there may be more behind the place. */
function progress(position: number, growth: Growth): Promise<void> {
  const isLagging = position < Math.min(growth.arrived, readable(growth))
  return isLagging ? sleep(LAG_MS) : growth.changed()
}

/** The file, once there is one; undefined when what was to be followed ended before. */
export function openGrowing(path: string): Promise<FileHandle | undefined> {
  return unlessMissing(open(path, 'r'))
}

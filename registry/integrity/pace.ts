/** How much there is to verify. */
export interface Amount {
  readonly blobs: number
  readonly bytes: number
}

export interface ScrubTerms {
  /** Bytes that are read in a second, at most. */
  readonly bytesPerSecond: number
  /** A blob is verified again when so many days have passed; 0: never. */
  readonly days: number
}

export const DAY_MS = 86_400_000
/** Asking for a blob costs about as much as reading so many bytes. */
const EACH_BYTES = 64 * 1024
/** So much faster than a pass needs, so that what nothing ran for is caught up with. */
const HURRY = 1.25

/**
 * Milliseconds to be spent on a blob of `sizeBytes`, a day at most, so that everything takes a little
 * less than the days of a pass, and no second sees more bytes than it may.
 */
export function spendingMs(sizeBytes: number, { blobs, bytes }: Amount, terms: ScrubTerms): number {
  const all = Math.max(bytes, sizeBytes) + Math.max(blobs, 1) * EACH_BYTES
  const evenly = (all * HURRY) / (terms.days * DAY_MS)
  const ms = (sizeBytes + EACH_BYTES) / Math.min(evenly, terms.bytesPerSecond / 1000)
  return Math.min(ms, DAY_MS)
}

import { setTimeout as sleep } from 'node:timers/promises'

/** What becomes of a body on its way. Between pieces it may wait as long as it likes. */
export type BodyChange = (pieces: AsyncIterable<Buffer>) => AsyncIterable<Buffer>

export const unchanged: BodyChange = (pieces) => pieces

/** What follows them is not even waited for. */
export function firstBytes(limit: number): BodyChange {
  return async function* (pieces) {
    let left = limit
    if (left <= 0) return
    for await (const piece of pieces) {
      const part = piece.subarray(0, left)
      left -= part.length
      yield part
      if (left === 0) return
    }
  }
}

/** Waits before what follows the first bytes, also before the end of a body that is as long. */
export function pausedAfter(bytes: number, until: Promise<void>): BodyChange {
  return async function* (pieces) {
    let left = bytes
    if (left === 0) await until
    for await (const piece of pieces) {
      if (left <= 0 || piece.length < left) {
        left -= piece.length
        yield piece
        continue
      }
      yield piece.subarray(0, left)
      await until
      yield piece.subarray(left)
      left = 0
    }
  }
}

/** The byte at the position becomes another one, and the length stays. Throws when there is none. */
export function flippedAt(position: number): BodyChange {
  return async function* (pieces) {
    let passed = 0
    for await (const piece of pieces) {
      const index = position - passed
      passed += piece.length
      if (index >= 0 && index < piece.length) piece[index] = (piece[index] ?? 0) ^ 0xff
      yield piece
    }
    if (passed <= position) throw new Error(`a body of ${passed} bytes has none at ${position}`)
  }
}

/** Evenly, some twenty times a second. */
export function throttled(bytesPerSecond: number): BodyChange {
  if (bytesPerSecond === Number.POSITIVE_INFINITY) return unchanged
  const most = Math.max(1, Math.floor(bytesPerSecond / 20))
  return async function* (pieces) {
    const began = performance.now()
    let passed = 0
    for await (const piece of pieces) {
      for (let first = 0; first < piece.length; first += most) {
        const part = piece.subarray(first, first + most)
        passed += part.length
        const early = began + (passed / bytesPerSecond) * 1000 - performance.now()
        if (early > 1) await sleep(early)
        yield part
      }
    }
  }
}

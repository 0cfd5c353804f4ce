import { setTimeout as sleep } from 'node:timers/promises'

/** Shorter waits are put off until they have added up. */
const LEAST_WAIT_MS = 20

/** Lets through so many bytes a second and never more, however long nothing was. */
export class Throttle {
  readonly #bytesPerMs: number
  #freeAtMs = 0

  /** Infinity for no limit. */
  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1000
  }

  /** Waits until `bytes` more have had their time. @throws the reason of the signal */
  async take(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    const nowMs = performance.now()
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + bytes / this.#bytesPerMs
    const waitMs = this.#freeAtMs - nowMs
    if (waitMs < LEAST_WAIT_MS) return
    await sleep(waitMs, undefined, { ...(signal && { signal }) })
  }
}

import { setTimeout as sleep } from 'node:timers/promises'

/** Returns when the time is over, or earlier when `signal` says so. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {})
}

/** What was missed while everything stood still is not made up for. */
const CATCH_UP_MS = 250

/** Lets so many through in a second, evenly. */
export class Pace {
  readonly #everyMs: number
  #next = 0

  constructor(perSecond: number) {
    this.#everyMs = 1000 / perSecond
  }

  /** Waits until it is time, or `signal` says that there is no time left. */
  async turn(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    const now = performance.now()
    this.#next = Math.max(this.#next, now - CATCH_UP_MS) + this.#everyMs
    if (this.#next > now) await pause(this.#next - now, signal)
  }
}

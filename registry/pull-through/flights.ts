import { UpstreamFailure } from '../../upstream/failure.ts'

/** Work whose result several requests wait for: done once, and not given up when they leave. */
export class Flights {
  readonly #underWay = new Map<string, Promise<unknown>>()
  readonly #closing = new AbortController()

  /** Runs `work` unless the same is under way. Its signal is aborted when the program ends. */
  join<T>(key: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const underWay = this.#underWay.get(key)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the key says what work it is
    if (underWay !== undefined) return underWay as Promise<T>
    const result = work(this.#closing.signal).finally(() => this.#underWay.delete(key))
    result.catch(() => {}) // whoever still waits hears of it
    this.#underWay.set(key, result)
    return result
  }

  async close(): Promise<void> {
    this.#closing.abort(new UpstreamFailure('unavailable', 'the server stops'))
    await Promise.allSettled(this.#underWay.values())
  }
}

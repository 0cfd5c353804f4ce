import { setMaxListeners } from 'node:events'

/**
 * How long something may take: as long as those who ask wait, and no longer than a limit.
 *
 * `AbortSignal.any` would do, but on Node 20 it leaks for as long as the oldest signal lives.
 */
export class Deadline {
  readonly #controller = new AbortController()
  readonly #parents: readonly AbortSignal[]
  #timer: NodeJS.Timeout | undefined

  constructor(parents: readonly AbortSignal[]) {
    this.#parents = parents
    // As many wait as there are clients, and each leaves with what it waited for.
    setMaxListeners(0, ...parents)
    for (const parent of parents) parent.addEventListener('abort', this.#follow)
    this.#follow()
  }

  /** Aborted with the reason of whichever parent was first, or with that of the limit. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** From now on; replaces the limit that was. */
  limit(ms: number, reason: () => Error): void {
    this.lift()
    this.#timer = setTimeout(() => this.#controller.abort(reason()), ms)
  }

  lift(): void {
    clearTimeout(this.#timer)
  }

  /** Has to be called, once the signal is of no use any more. */
  end(): void {
    this.lift()
    for (const parent of this.#parents) parent.removeEventListener('abort', this.#follow)
  }

  // The event could tell whose it is, but on Node 20 it tells only the first listener.
  readonly #follow = (): void => {
    const parent = this.#parents.find(({ aborted }) => aborted)
    if (parent !== undefined) this.#controller.abort(parent.reason)
  }
}

/** What `promise` gives, unless `signal` is aborted before: then it rejects with its reason, at once. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const leave = () => reject(asError(signal.reason))
    if (signal.aborted) leave()
    else signal.addEventListener('abort', leave, { once: true })
    promise
      .finally(() => signal.removeEventListener('abort', leave))
      .then(resolve, (error: unknown) => reject(asError(error)))
  })
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error('aborted', { cause: reason })
}

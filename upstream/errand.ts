import type { Permit } from './breaker.ts'
import type { Deadline } from './deadline.ts'
import { UpstreamFailure } from './failure.ts'

export interface ErrandOptions {
  readonly deadline: Deadline
  readonly permit: Permit
  /** Gives the slot back. */
  readonly release: () => void
  readonly onFailure: (failure: UpstreamFailure) => void
}

/**
 * One thing asked of an upstream, with all it holds until it ends: time, the breaker's permit,
 * and perhaps a slot.
 */
export class Errand {
  readonly #options: ErrandOptions

  constructor(options: ErrandOptions) {
    this.#options = options
  }

  get signal(): AbortSignal {
    return this.#options.deadline.signal
  }

  /** The upstream gave what it was asked for. */
  succeeded(): void {
    this.#options.permit.succeeded()
  }

  /** @returns what to throw for `error` */
  failed(error: unknown): unknown {
    const { permit, onFailure } = this.#options
    // What breaks because of an abort is only its consequence.
    const cause: unknown = this.signal.aborted ? this.signal.reason : error
    if (!(cause instanceof UpstreamFailure)) {
      permit.abandoned()
      return cause
    }
    const failure = permit.failed(cause)
    onFailure(failure)
    return failure
  }

  /** Lets go of the limit: from now on it may take as long as the signal allows. */
  lift(): void {
    this.#options.deadline.lift()
  }

  /** More calls do nothing. */
  end(): void {
    const { deadline, permit, release } = this.#options
    deadline.end()
    permit.abandoned()
    release()
  }
}

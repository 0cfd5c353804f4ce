import { UpstreamFailure } from './failure.ts'

const FAILURES_IN_A_ROW = 3
const FIRST_PAUSE_SECONDS = 30
const LONGEST_PAUSE_SECONDS = 300

/** The right to ask once. One of its methods has to be called, once; more calls do nothing. */
export interface Permit {
  succeeded(): void
  /** @returns the failure to report: with when to come back, if that is decided here */
  failed(failure: UpstreamFailure): UpstreamFailure
  /** Nobody waited for how it ended. */
  abandoned(): void
}

/**
 * Leaves an upstream alone that is down, or that asks for it.
 *
 * After three failures in a row of the kind 'unavailable' nobody asks for 30 seconds; then one
 * request tries, and when it fails the pause is twice as long, up to 5 minutes. After a 429 nobody
 * asks before the upstream says, or for such a pause when it does not. What began before a pause
 * may end as it likes and changes nothing, but for another 429.
 */
export class Breaker {
  readonly #now: () => number
  /** Counts pauses: an outcome tells something only of the time in which its request began. */
  #era = 0
  #until = 0
  #failures = 0
  #pauses = 0
  #trial: 'none' | 'due' | 'running' = 'none'
  #reason: UpstreamFailure | undefined
  /** Of what several waited for together, such as a token, and that is one failure nevertheless. */
  readonly #counted = new WeakSet<UpstreamFailure>()

  constructor(now: () => number) {
    this.#now = now
  }

  get brokenUntil(): Date | undefined {
    return this.#until > this.#now() ? new Date(this.#until) : undefined
  }

  /** @throws UpstreamFailure while nobody is to ask */
  check(): void {
    const seconds = Math.ceil((this.#until - this.#now()) / 1000)
    if (seconds > 0) throw this.#refusal(seconds)
    // How the trial ends is known soon, or it is at least worth another look then.
    if (this.#trial === 'running') throw this.#refusal(1)
  }

  /** @throws UpstreamFailure while nobody is to ask */
  admit(): Permit {
    this.check()
    const isTrial = this.#trial === 'due'
    if (isTrial) this.#trial = 'running'
    const era = this.#era
    let isOpen = true
    const once = (settle: () => void) => {
      if (isOpen) settle()
      isOpen = false
    }
    return {
      succeeded: () => once(() => this.#succeeded(era)),
      failed: (failure) => {
        once(() => this.#failed(failure, era))
        return this.#withPause(failure)
      },
      abandoned: () =>
        once(() => {
          if (isTrial && era === this.#era) this.#trial = 'due'
        }),
    }
  }

  #succeeded(era: number): void {
    if (era !== this.#era) return
    this.#failures = 0
    this.#pauses = 0
    this.#trial = 'none'
  }

  #failed(failure: UpstreamFailure, era: number): void {
    if (failure.reason === 'rate limited') this.#rateLimited(failure, era)
    else if (failure.reason !== 'unavailable') this.#succeeded(era)
    else if (era === this.#era && !this.#counted.has(failure)) this.#unavailable(failure)
  }

  #rateLimited(failure: UpstreamFailure, era: number): void {
    const seconds = failure.retryAfterSeconds
    if (era === this.#era) this.#pause(failure, seconds ?? this.#pauseSeconds())
    else if (seconds !== undefined) this.#until = Math.max(this.#until, this.#after(seconds))
  }

  #unavailable(failure: UpstreamFailure): void {
    this.#counted.add(failure)
    this.#failures += 1
    if (this.#trial !== 'running' && this.#failures < FAILURES_IN_A_ROW) return
    this.#pause(failure, Math.max(this.#pauseSeconds(), failure.retryAfterSeconds ?? 0))
    this.#trial = 'due'
  }

  #pause(failure: UpstreamFailure, seconds: number): void {
    this.#era += 1
    this.#pauses += 1
    this.#failures = 0
    this.#until = this.#after(Math.max(seconds, 1))
    this.#trial = this.#trial === 'running' ? 'due' : this.#trial
    this.#reason = failure
  }

  #pauseSeconds(): number {
    return Math.min(FIRST_PAUSE_SECONDS * 2 ** Math.min(this.#pauses, 10), LONGEST_PAUSE_SECONDS)
  }

  #after(seconds: number): number {
    return this.#now() + seconds * 1000
  }

  /** A failure of the kind that made the pause tells when it ends. */
  #withPause(failure: UpstreamFailure): UpstreamFailure {
    const isPause = failure.reason === 'rate limited' || failure === this.#reason
    const seconds = Math.ceil((this.#until - this.#now()) / 1000)
    if (!isPause || seconds <= 0 || seconds === failure.retryAfterSeconds) return failure
    const { reason, message, cause } = failure
    return new UpstreamFailure(reason, message, { cause, retryAfterSeconds: seconds })
  }

  #refusal(retryAfterSeconds: number): UpstreamFailure {
    const { reason = 'unavailable', message = 'unavailable' } = this.#reason ?? {}
    const text = `${message} (not asked again for ${retryAfterSeconds} s)`
    return new UpstreamFailure(reason, text, { cause: this.#reason, retryAfterSeconds })
  }
}

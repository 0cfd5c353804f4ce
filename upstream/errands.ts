import { Breaker } from './breaker.ts'
import { Deadline } from './deadline.ts'
import { Errand } from './errand.ts'
import { UpstreamFailure } from './failure.ts'
import { Slots } from './slots.ts'
import type { Asking, UpstreamCondition } from './upstream.ts'

export interface ErrandsOptions {
  /** The upstream's name. */
  readonly name: string
  /** Errands of a kind with a slot at a time. */
  readonly concurrency: number
  readonly limitMs: number
  readonly now: () => number
}

/** What an errand needs of the slots: none, one within its limit, or one however long that takes. */
export type SlotNeed = 'none' | 'soon' | 'some time'

const NOTHING = () => {}

/** Begins what is asked of one upstream, unless it is left alone, and knows how that ended. */
export class Errands {
  readonly #options: ErrandsOptions
  readonly #breaker: Breaker
  /** Of what is soon done, and of bodies that may take hours: neither waits for the other. */
  readonly #slots: Readonly<Record<Exclude<SlotNeed, 'none'>, Slots>>
  readonly #closing = new AbortController()
  #lastError: UpstreamCondition['lastError']

  constructor(options: ErrandsOptions) {
    this.#options = options
    this.#breaker = new Breaker(options.now)
    const { concurrency } = options
    this.#slots = { soon: new Slots(concurrency), 'some time': new Slots(concurrency) }
  }

  get brokenUntil(): Date | undefined {
    return this.#breaker.brokenUntil
  }

  get lastError(): UpstreamCondition['lastError'] {
    return this.#lastError
  }

  /** Aborted when all ends. */
  get closed(): AbortSignal {
    return this.#closing.signal
  }

  /** @throws UpstreamFailure, or the reason of the signal */
  async begin({ signal }: Asking, need: SlotNeed): Promise<Errand> {
    const { name, limitMs } = this.#options
    this.#breaker.check()
    const deadline = new Deadline([signal, this.closed])
    let waitsForSlot = need !== 'none'
    const overdue = () => {
      const what = waitsForSlot ? 'is busy with other fetches' : 'did not answer in time'
      return new UpstreamFailure('unavailable', `${name}: ${what}`)
    }
    if (need !== 'some time') deadline.limit(limitMs, overdue)
    let release = NOTHING
    try {
      deadline.signal.throwIfAborted()
      if (need !== 'none') release = await this.#slots[need].take(deadline.signal)
      waitsForSlot = false
      const permit = this.#breaker.admit()
      if (need === 'some time') deadline.limit(limitMs, overdue)
      return new Errand({ deadline, permit, release, onFailure: (failure) => this.#note(failure) })
    } catch (error) {
      release()
      deadline.end()
      throw error
    }
  }

  /** Ends what is under way. */
  close(): void {
    const { name } = this.#options
    // Not 'unavailable', which would be waited out.
    this.#closing.abort(new UpstreamFailure('invalid', `${name}: is not asked any more`))
  }

  #note(failure: UpstreamFailure): void {
    if (failure.reason === 'unknown') return
    this.#lastError = { message: failure.message, at: new Date(this.#options.now()) }
  }
}

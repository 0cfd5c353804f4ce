import { firstBytes } from './body.ts'
import type { AnswerChanges, Exchange, MadeAnswer } from './exchange.ts'

export interface Times {
  /** How many requests it hits, Infinity for all that come; 1 by default. */
  readonly times?: number
}

export interface FaultHandle {
  /** Requests that it was given to, from their arrival on. */
  readonly hits: number
  /** It hits no more. */
  clear(): void
}

interface Course {
  /** Resolves when the fault is cleared. */
  readonly cleared: Promise<void>
  /** What would be done without the fault. */
  next(this: void): Promise<void>
}

/** What is done with a request. */
export type Conduct = (exchange: Exchange, course: Course) => Promise<void>

export async function passThrough(exchange: Exchange): Promise<void> {
  await exchange.pass(await exchange.ask())
}

/** The answer that would be given, with something done to it. */
export function changing(change: Exchange['change']): Conduct {
  return (exchange, { next }) => {
    exchange.change = change
    return next()
  }
}

export function cutRequest(afterBytes: number): Conduct {
  return (exchange) => exchange.askInPart(afterBytes)
}

export function cutResponse(
  afterBytes: number,
  end: NonNullable<AnswerChanges['end']> = 'close',
): Conduct {
  return changing(() => ({ body: firstBytes(afterBytes), end }))
}

export function reply(answer: MadeAnswer): Conduct {
  return (exchange) => exchange.reply(answer)
}

export function delay(firstByteMs: number): Conduct {
  return (exchange, { next }) => {
    exchange.change = async () => {
      await exchange.wait(firstByteMs)
      return {}
    }
    return next()
  }
}

export const loseAnswer: Conduct = async (exchange) => {
  await exchange.lose(await exchange.ask())
}

export const hang: Conduct = async (_, { cleared, next }) => {
  await cleared
  await next()
}

/** An effect that some requests meet. */
export class Fault<Request, Effect> implements FaultHandle {
  readonly effect: Effect
  readonly #isMatch: (request: Request) => boolean
  #left: number
  #hits = 0
  #onClear: () => void = () => {}
  readonly cleared = new Promise<void>((resolve) => {
    this.#onClear = resolve
  })

  constructor(isMatch: (request: Request) => boolean, { times = 1 }: Times, effect: Effect) {
    this.#isMatch = isMatch
    this.#left = times
    this.effect = effect
  }

  get hits(): number {
    return this.#hits
  }

  /** Whether this request is one of those it hits; counts it if so. */
  takes(request: Request): boolean {
    if (this.#left === 0 || !this.#isMatch(request)) return false
    this.#left--
    this.#hits++
    return true
  }

  clear(): void {
    this.#left = 0
    this.#onClear()
  }
}

import type { Exchange, S3Error } from './exchange.ts'
import type { S3Operation, S3Request } from './request.ts'

/** By the name of its operation, or by what its head tells. */
export type Match = S3Operation | ((request: S3Request) => boolean)

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

/** What is done with a request. `cleared` resolves when the fault is cleared. */
export type Conduct = (exchange: Exchange, cleared: Promise<void>) => Promise<void>

export async function passThrough(exchange: Exchange): Promise<void> {
  await exchange.pass(await exchange.ask())
}

export function cutRequest(afterBytes: number): Conduct {
  return (exchange) => exchange.askInPart(afterBytes)
}

export function cutResponse(afterBytes: number): Conduct {
  return async (exchange) => exchange.passInPart(await exchange.ask(), afterBytes)
}

export function answer(error: S3Error): Conduct {
  return (exchange) => exchange.refuse(error)
}

export function delay(firstByteMs: number): Conduct {
  return async (exchange) => {
    const response = await exchange.ask()
    await exchange.wait(firstByteMs)
    await exchange.pass(response)
  }
}

export const loseAnswer: Conduct = async (exchange) => {
  await exchange.lose(await exchange.ask())
}

export const hang: Conduct = async (exchange, cleared) => {
  await cleared
  await passThrough(exchange)
}

/** A conduct that some requests meet. */
export class Fault implements FaultHandle {
  readonly #match: Match
  readonly #conduct: Conduct
  #left: number
  #hits = 0
  #onClear: () => void = () => {}
  readonly #cleared = new Promise<void>((resolve) => {
    this.#onClear = resolve
  })

  constructor(match: Match, { times = 1 }: Times, conduct: Conduct) {
    this.#match = match
    this.#left = times
    this.#conduct = conduct
  }

  get hits(): number {
    return this.#hits
  }

  /** Whether this request is one of those it hits; counts it if so. */
  takes(request: S3Request): boolean {
    const match = this.#match
    if (this.#left === 0) return false
    if (typeof match === 'string' ? request.operation !== match : !match(request)) return false
    this.#left--
    this.#hits++
    return true
  }

  apply(exchange: Exchange): Promise<void> {
    return this.#conduct(exchange, this.#cleared)
  }

  clear(): void {
    this.#left = 0
    this.#onClear()
  }
}

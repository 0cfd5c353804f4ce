import { Agent } from 'node:http'
import type { Answer, Sending } from '../../test/durability/support/exchange.ts'
import { digestOf } from '../../test/durability/support/pushes.ts'
import type { Random } from '../random.ts'
import type { Account } from './accounts.ts'
import { send } from './http.ts'
import type { Pace } from './pace.ts'
import type { Report } from './report.ts'

/** What all clients of a run have in common. */
export interface Load {
  readonly host: string
  readonly account: Account
  readonly pace: Pace
  readonly report: Report
}

/** There is no answer that tells what was done: a client would try again. */
export class TryAgain extends Error {
  override readonly name = 'TryAgain'
}

/** A token is renewed before it ends, after 600 s. */
const TOKEN_MS = 400_000

/** Asks at the pace of the run, over connections that it keeps, and judges the answers. */
export class Client {
  readonly load: Load
  readonly random: Random
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 4 })
  readonly #signal: AbortSignal
  readonly #tokens = new Map<string, { readonly header: string; readonly until: number }>()

  constructor(load: Load, random: Random, signal: AbortSignal) {
    this.load = load
    this.random = random
    this.#signal = signal
  }

  get isEnding(): boolean {
    return this.#signal.aborted
  }

  /**
   * A whole request, when it is its turn. What was begun is not held back when the load ends.
   *
   * @param statuses that are right; 503 is not wrong
   * @throws TryAgain
   */
  async ask(sending: Sending, ...statuses: number[]): Promise<Answer> {
    const { host, pace, report } = this.load
    await pace.turn(this.#signal)
    report.requests++
    const what = `${sending.method} ${sending.path}`
    const answer = await send(this.#agent, host, sending).catch((error: Error) => {
      report.violation(`${what}: no whole answer: ${error.message}`)
      throw new TryAgain(error.message, { cause: error })
    })
    if (statuses.includes(answer.status)) return answer
    if (answer.status === 503) report.unavailable++
    else report.violation(`${what}: ${answer.status} ${answer.body.toString('utf8', 0, 300)}`)
    throw new TryAgain(String(answer.status))
  }

  /** As {@link ask}, with a token for `scope`, as it stands in a request for one. */
  async askAs(scope: string, sending: Sending, ...statuses: number[]): Promise<Answer> {
    const authorization = await this.authorization(scope)
    const headers = { ...sending.headers, Authorization: authorization }
    return this.ask({ ...sending, headers }, ...statuses)
  }

  /** The header of a token, a new one now and then. */
  async authorization(scope: string): Promise<string> {
    const known = this.#tokens.get(scope)
    if (known !== undefined && performance.now() < known.until) return known.header
    const header = `Bearer ${await this.fetchToken(scope)}`
    this.#tokens.set(scope, { header, until: performance.now() + TOKEN_MS })
    return header
  }

  /** As every run of a client begins. */
  async fetchToken(scope: string): Promise<string> {
    const { account, report } = this.load
    const scopes = scope.split(' ').map((each) => `scope=${encodeURIComponent(each)}`)
    const path = `/token?service=slipway&${scopes.join('&')}`
    const headers = { Authorization: account.basic }
    const answer = await this.ask({ method: 'GET', path, headers }, 200)
    report.tokens++
    return (JSON.parse(answer.body.toString()) as { token: string }).token
  }

  /** @returns whether the body has that digest; if not, that is reported */
  verify(what: string, { body }: Answer, digest: string): boolean {
    const { report } = this.load
    if (digestOf(body) !== digest) {
      report.violation(`${what}: the body is not ${digest}`)
      return false
    }
    report.verifiedBytes += body.length
    return true
  }

  close(): void {
    this.#agent.destroy()
  }
}

import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Answer,
  errorOf,
  exchange,
  type Sending,
} from '../test/durability/support/exchange.ts'
import { Refused, type Target } from '../test/durability/support/pushes.ts'
import type { Fleet, Replica } from './fleet.ts'
import { short } from './journal.ts'
import type { Effect, Ledger } from './ledger.ts'
import type { Random } from './random.ts'
import type { Report } from './report.ts'

/** What all clients of a round work on. */
export interface Round {
  readonly fleet: Fleet
  readonly ledger: Ledger
  readonly report: Report
  /** Seconds that a promise lasts; 0: no promise. */
  readonly graceSeconds: number
  readonly ending: AbortSignal
}

/** There is no answer, for a reason that clients must expect: they try again. */
export class TryAgain extends Error {
  override readonly name = 'TryAgain'
}

const PAUSE_MS = 50
/** Far more than anything takes: whoever waits longer waits for ever. */
const PATIENCE_MS = 45_000

/** Asks any replica that runs, and judges how it was answered. */
export class Client {
  readonly name: string
  readonly round: Round
  readonly random: Random

  constructor(name: string, round: Round, random: Random) {
    this.name = name
    this.round = round
    this.random = random
  }

  /**
   * @param effect what it is to change, if anything: it is written down with its outcome
   * @throws TryAgain
   */
  async ask(sending: Sending, effect?: Effect): Promise<Answer> {
    const { ledger } = this.round
    const replica = await this.#pick()
    const deed = effect && ledger.begin(effect)
    const about = effect?.kind === 'push' ? ` (${short(effect.digest)})` : ''
    const what = `${this.name} ${sending.method} ${shorten(sending.path)}${about} at ${replica.name}`
    const began = performance.now()
    let answer: Answer
    try {
      answer = await exchange(replica.server.host, { timeoutMs: PATIENCE_MS, ...sending })
    } catch (error) {
      throw await this.#explain(what, replica, error)
    }
    this.#note(`${what}: ${told(answer)} after ${Math.round(performance.now() - began)} ms`)
    if (answer.status >= 500) throw this.#refusal(what, answer)
    if (deed !== undefined && answer.status < 300) ledger.done(deed)
    else if (deed !== undefined) ledger.refused(deed)
    return answer
  }

  /**
   * Runs requests that make one whole, each of which goes to any replica.
   *
   * @throws TryAgain, Refused with a status below 500
   */
  async send(
    what: string,
    repository: string,
    work: (to: Target) => Promise<unknown>,
  ): Promise<void> {
    let replica = await this.#pick()
    const host = () => {
      replica = this.round.fleet.pick(this.random) ?? replica
      return replica.server.host
    }
    const whole = `${this.name} ${what} ${repository}`
    try {
      await work({ host, repository })
    } catch (error) {
      if (!(error instanceof Refused)) throw await this.#explain(whole, replica, error)
      this.#note(`${whole} at ${replica.name}: ${error.message.slice(0, 200)}`)
      if (error.answer.status >= 500) throw this.#refusal(whole, error.answer)
      throw error
    }
    this.#note(`${whole} at ${replica.name}: done`)
  }

  get isEnding(): boolean {
    return this.round.ending.aborted
  }

  async pause(longestMs = PAUSE_MS): Promise<void> {
    const options = { signal: this.round.ending }
    await sleep(this.random.next() * longestMs, undefined, options).catch(() => {})
  }

  async #pick(): Promise<Replica> {
    const { fleet } = this.round
    for (;;) {
      const replica = fleet.pick(this.random)
      if (replica !== undefined) return replica
      await fleet.someUp()
    }
  }

  async #explain(what: string, replica: Replica, error: unknown): Promise<TryAgain> {
    const { report, fleet } = this.round
    const reason = error instanceof Error ? error.message : String(error)
    this.#note(`${what}: ${reason}`)
    if (!(await fleet.hasDied(replica))) {
      report.violation(`${what}: no whole answer, and the server lives: ${reason}`, [what])
    }
    report.figures.cut++
    return new TryAgain(reason, { cause: error })
  }

  #refusal(what: string, answer: Answer): TryAgain {
    const { report } = this.round
    if (answer.status === 503) report.figures.unavailable++
    else report.violation(`${what}: ${told(answer)}`, [what])
    return new TryAgain(`${answer.status}`)
  }

  #note(text: string): void {
    this.round.report.journal.note(text)
  }
}

/** Something that must not be happened, unless one of the statuses is the answer. */
export function expectOneOf(
  { round: { report } }: Client,
  what: string,
  answer: Answer,
  statuses: readonly number[],
): boolean {
  if (statuses.includes(answer.status)) return true
  report.violation(`${what}: ${told(answer)}`, [what])
  return false
}

/** What the errors of an answer are about. */
export function detailsOf(answer: Answer): { code: string; details: string[] } {
  const { code } = errorOf(answer)
  const { errors } = JSON.parse(answer.body.toString()) as { errors: { detail?: string }[] }
  return { code, details: errors.flatMap(({ detail }) => (detail === undefined ? [] : [detail])) }
}

function told({ status, body, headers }: Answer): string {
  const isError = status >= 400 && headers['content-type']?.startsWith('application/json')
  return isError ? `${status} ${shorten(body.toString('utf8', 0, 300))}` : String(status)
}

function shorten(text: string): string {
  return text.replaceAll(/sha256:[0-9a-f]{64}/g, short)
}

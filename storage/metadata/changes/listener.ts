import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import type { Logger } from 'pino'
import type { Pool, PoolSettings } from '../database.ts'
import { listenerName, PREFIX } from './names.ts'
import { notifyNow } from './notify.ts'
import { Roster } from './roster.ts'

export const LEASE_MS = 4000
const PING_EVERY_MS = 1000
const GAP_MS = 2000
// A second more than the gap in which others may not have looked: clocks need not run alike.
const VISIBLE_MS = GAP_MS + 1000
const CONNECT_MS = 5000
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5000

/** A notification that was committed arrives within so long, or never. */
const ARRIVAL_MS = 500
const TRIAL = 'trial'
const PINGS_BETWEEN_TRIALS = 60

export interface ListenerOptions {
  /** Of the process, a UUID: others know by it that it is alive. */
  readonly id: string
  /** Where notifications are sent from. */
  readonly db: Pool
  /** To the same database. */
  readonly connection: PoolSettings['connection']
  /** Listened to besides the listener's own. */
  readonly channel: string
  readonly onNotification: (channel: string, payload: string) => void
  /** Called when notifications may have been missed. */
  readonly onLoss: () => void
  readonly log: Pick<Logger, 'info' | 'warn'>
}

/** A connection that listens, comes back when it breaks, and knows how far it can be relied on. */
export class Listener {
  /** Of the connection, in `pg_stat_activity`, and of the channel that only this one listens to. */
  readonly name: string
  readonly #options: ListenerOptions
  readonly #roster = new Roster({ gapMs: GAP_MS, keepMs: LEASE_MS + VISIBLE_MS })
  readonly #closing = new AbortController()
  #running: Promise<void> | undefined
  #renewedAtMs = Number.NEGATIVE_INFINITY
  #pauseMs = FIRST_PAUSE_MS
  #trialHeard = false
  /** What the log said last. */
  #reported: 'heard' | 'unheard' | undefined

  constructor(options: ListenerOptions) {
    this.#options = options
    this.name = listenerName(options.id)
  }

  start(): void {
    this.#running ??= this.#run()
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
  }

  /** Whether a ping that was sent less than {@link LEASE_MS} ago has been answered. */
  holdsLease(): boolean {
    return performance.now() - this.#renewedAtMs < LEASE_MS
  }

  /** Every other listener that may hold a lease; undefined when that is not known. */
  others(): string[] | undefined {
    return this.#roster.names()
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      const error: unknown = await this.#listen().catch((reason: unknown) => reason)
      if (signal.aborted) return
      this.#report('unheard', error)
      await sleep(this.#pauseMs, undefined, { signal }).catch(() => {})
      this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS)
    }
  }

  /** Ends by an error only. */
  async #listen(): Promise<never> {
    const { connection, onLoss } = this.#options
    // In our hands, because client.end() waits for a server that may not answer any more.
    const socket = new Socket()
    const client = new Client({
      ...connection,
      stream: () => socket,
      pipeline: true,
      application_name: 'slipway',
      connectionTimeoutMillis: CONNECT_MS,
      query_timeout: LEASE_MS,
    })
    const ended = new AbortController()
    client.on('error', (error) => ended.abort(error))
    client.on('notification', ({ channel: from, payload = '' }) => this.#hear(from, payload))
    const destroy = () => socket.destroy()
    this.#closing.signal.addEventListener('abort', destroy)
    try {
      await client.connect()
      await client.query(`listen ${this.name}`)
      return await this.#ping(client, ended.signal)
    } finally {
      this.#closing.signal.removeEventListener('abort', destroy)
      destroy()
      this.#renewedAtMs = Number.NEGATIVE_INFINITY
      onLoss()
    }
  }

  /** One answer to two questions: does the connection work, and who else listens? */
  async #ping(client: Client, signal: AbortSignal): Promise<never> {
    let namedAtMs = Number.POSITIVE_INFINITY
    for (let count = 0; ; count++) {
      const isTrialDue =
        namedAtMs === Number.POSITIVE_INFINITY && count % PINGS_BETWEEN_TRIALS === 0
      if (isTrialDue && (await this.#hearsItself())) {
        await client.query(`listen ${this.#options.channel}`)
        // From here on the others wait for this process.
        await client.query(`set application_name = '${this.name}'`)
        namedAtMs = performance.now()
      }
      const sentAtMs = performance.now()
      const { rows } = await client.query<{ name: string }>({
        text: `select application_name as name from pg_stat_activity
               where datname = current_database() and starts_with(application_name, $1)
                 and application_name <> $2`,
        values: [PREFIX, this.name],
      })
      this.#roster.saw(
        rows.map((row) => row.name),
        sentAtMs,
      )
      if (sentAtMs - namedAtMs >= VISIBLE_MS) this.#renew(sentAtMs)
      await sleep(PING_EVERY_MS, undefined, { signal }).catch(() => signal.throwIfAborted())
    }
  }

  /**
   * Sends itself a notification through the pool. A pooler that lends a server for one transaction
   * loses it, having nobody to hand it to; which is sure only while nothing else is sent here.
   */
  async #hearsItself(): Promise<boolean> {
    this.#trialHeard = false
    await notifyNow(this.#options.db, this.name, TRIAL)
    const { signal } = this.#closing
    if (!this.#trialHeard) await sleep(ARRIVAL_MS, undefined, { signal })
    if (!this.#trialHeard) {
      this.#report('unheard', new Error('LISTEN does not work: a pooler in transaction mode?'))
    }
    return this.#trialHeard
  }

  #hear(channel: string, payload: string): void {
    if (channel === this.name && payload === TRIAL) this.#trialHeard = true
    else this.#options.onNotification(channel, payload)
  }

  #renew(sentAtMs: number): void {
    this.#renewedAtMs = sentAtMs
    this.#pauseMs = FIRST_PAUSE_MS
    this.#report('heard')
  }

  #report(state: 'heard' | 'unheard', error?: unknown): void {
    if (this.#reported === state) return
    this.#reported = state
    const { log } = this.#options
    if (state === 'heard') log.info('changes by other processes are heard, answers are cached')
    else log.warn({ err: error }, 'changes by other processes are not heard, nothing is cached')
  }
}

import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { type AuditEvent, cleanAuditEvent, insertAuditEvents } from '../storage/metadata/audit.ts'
import type { Queryable } from '../storage/metadata/database.ts'

const BATCH = 500
const EVERY_MS = 500
const LONGEST_PAUSE_MS = 5000
const MOST = 10_000
const CLOSE_MS = 2000
const CLOSE_PAUSE_MS = 100

export interface AuditTrailOptions {
  readonly log: Pick<Logger, 'warn'>
  /** How long an event waits for others to be written with; 500. */
  readonly everyMs?: number
  /** Events kept while the database is away, 1 or more; 10,000. */
  readonly most?: number
}

/**
 * Collects events of requests and writes them in batches off the request's path, in their order.
 * While the database is away they wait; of those that find no room, only the number is kept.
 *
 * When a connection breaks between a write and its answer, that batch is written again: an event
 * may be there twice, rather than not at all.
 */
export class AuditTrail {
  readonly #db: Queryable
  readonly #log: Pick<Logger, 'warn'>
  readonly #everyMs: number
  readonly #most: number
  /** The oldest first. A batch on its way stays in here until it is stored. */
  readonly #waiting: (AuditEvent & { readonly at: Date })[] = []
  #dropped = 0
  #failures = 0
  #timer: NodeJS.Timeout | undefined
  #flushing: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #ended = false

  constructor(db: Queryable, { log, everyMs = EVERY_MS, most = MOST }: AuditTrailOptions) {
    this.#db = db
    this.#log = log
    this.#everyMs = everyMs
    this.#most = most
  }

  /** Never throws, and waits for nothing. */
  record(event: AuditEvent): void {
    if (this.#ended) {
      this.#log.warn({ action: event.action }, 'audit event after the end, not written')
      return
    }
    if (this.#waiting.length >= this.#most) {
      this.#dropped++
      return
    }
    // Cleaned here already, so that what waits is small.
    this.#waiting.push({ ...cleanAuditEvent(event), at: new Date() })
    if (this.#timer === undefined) this.#flushIn(this.#everyMs)
    else if (this.#waiting.length === BATCH && this.#failures === 0) this.#flushIn(0)
  }

  /** Writes what is left, and gives up after 2 seconds. Safe to repeat. */
  close(): Promise<void> {
    this.#closing ??= this.#finish()
    return this.#closing
  }

  /** Sets the time of the next flush, in place of the one set; not while one is under way. */
  #flushIn(ms: number): void {
    if (this.#flushing !== undefined || this.#closing !== undefined) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#flushing = this.#flush()
    }, ms).unref()
  }

  async #flush(): Promise<void> {
    this.#timer = undefined
    // What is no full batch by then waits for more, or a busy server would write them one by one.
    while ((await this.#writeBatch()) && this.#waiting.length >= BATCH);
    this.#flushing = undefined
    if (this.#waiting.length > 0) this.#flushIn(this.#pauseMs())
  }

  #pauseMs(): number {
    return Math.min(this.#everyMs * 2 ** this.#failures, LONGEST_PAUSE_MS)
  }

  /** Never throws. @returns whether it was stored */
  async #writeBatch(): Promise<boolean> {
    const batch = this.#waiting.slice(0, BATCH)
    try {
      await insertAuditEvents(this.#db, batch)
    } catch (error) {
      if (this.#failures++ === 0) {
        this.#log.warn({ err: error, waiting: this.#waiting.length }, 'audit events have to wait')
      }
      return false
    }
    this.#failures = 0
    this.#waiting.splice(0, batch.length)
    this.#confessDropped()
    return true
  }

  /** Where the dropped ones would have been: nothing was taken in since the first of them. */
  #confessDropped(): void {
    if (this.#dropped === 0) return
    this.#log.warn({ dropped: this.#dropped }, 'audit events dropped')
    this.#waiting.push({
      actor: undefined,
      action: 'audit.dropped',
      result: 'failed',
      detail: `${this.#dropped} events`,
      at: new Date(),
    })
    this.#dropped = 0
  }

  async #finish(): Promise<void> {
    clearTimeout(this.#timer)
    let overdue: NodeJS.Timeout | undefined
    const deadline = new Promise<void>((resolve) => {
      overdue = setTimeout(resolve, CLOSE_MS)
    })
    await Promise.race([this.#writeRest(), deadline])
    clearTimeout(overdue)
    this.#ended = true
    const lost = this.#waiting.length + this.#dropped
    if (lost > 0) this.#log.warn({ lost }, 'audit events not written before the end')
  }

  async #writeRest(): Promise<void> {
    await this.#flushing
    while (this.#waiting.length > 0 && !this.#ended) {
      const stored = await this.#writeBatch()
      if (!stored) await sleep(CLOSE_PAUSE_MS, undefined, { ref: false })
    }
  }
}

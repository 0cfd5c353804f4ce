import { randomUUID } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { RegistryError } from '../oci/errors.ts'
import { UploadLost } from '../storage/blob/blob-store.ts'
import type { Changes } from '../storage/metadata/changes.ts'
import type { Pool } from '../storage/metadata/database.ts'
import {
  claimUpload,
  endDeadClaim,
  releaseUpload,
  renewUploadClaims,
} from '../storage/metadata/upload-claims.ts'
import {
  expireUpload,
  findUpload,
  type UploadKey,
  type UploadSession,
  type Writer,
} from '../storage/metadata/uploads.ts'
import type { LeftUploads } from './left-uploads.ts'

const CLAIM_SECONDS = 15
/** For a process without rivals: nobody is to take over, not even after a long outage. */
const ALONE_CLAIM_SECONDS = 1_000_000_000
const RENEW_EVERY_MS = 3000
/** Bytes stop before the claim could pass to another process, however late the check comes. */
const SAFETY_MS = RENEW_EVERY_MS + 1000
const POLL_MS = 250

/** The right of one request to add bytes to an upload session. */
export interface UploadLock {
  readonly session: UploadSession
  /** Aborted when a newer request takes over, or when the claim could not be renewed. */
  readonly signal: AbortSignal
  /** What the row says of who writes, where the lock's end is recorded together with other facts. */
  readonly writer: Writer
  /** Set while bytes are in the storage that the session does not name. */
  leftovers: boolean
  /** Frees the session for the next request. `saved`: the database row says so already. */
  release(saved: boolean): Promise<void>
}

interface Held {
  readonly controller: AbortController
  readonly released: Promise<unknown>
  renewedAtMs: number
  /** False while the claim of another process is waited for. */
  claimed: boolean
}

/** How other processes are asked to let go of a session. */
type OtherProcesses = Pick<Changes, 'areHeard' | 'on' | 'publish'>

export interface UploadLocksOptions {
  /** No other process writes to this database, so claims need no renewal. */
  readonly alone?: boolean
  /** Taken up without a claim in the row. Only where no other process writes. */
  readonly left?: LeftUploads
  /** Names this process in the claims it makes: a UUID. */
  readonly writer?: string
  readonly others?: OtherProcesses | undefined
  /** Claims outlive a crash of the database: what a store leaves behind is known by them. */
  readonly durable?: boolean
}

/**
 * One writer per upload session, and the newer request takes over: the older one usually hangs
 * on a connection that its client has given up.
 *
 * Within a process that is at once. Between processes a session is claimed in its row for a few
 * seconds, and renewed while bytes arrive. Who wants a session asks the process that has it to let
 * go; the claim of one that died ends when that is seen, or else runs out. A process that cannot
 * renew stops its own writers before another may claim.
 */
export class UploadLocks {
  readonly #db: Pool
  readonly #alone: boolean
  readonly #writer: string
  readonly #others: OtherProcesses | undefined
  readonly #durable: boolean
  readonly #left: LeftUploads | undefined
  readonly #held = new Map<string, Held>()
  #renewal: NodeJS.Timeout | undefined

  constructor(db: Pool, options: UploadLocksOptions = {}) {
    const { alone = false, writer = randomUUID(), others, durable = false } = options
    this.#db = db
    this.#alone = alone
    this.#writer = writer
    this.#others = others
    this.#durable = durable
    this.#left = options.left
    // Ours waits behind one that its client has given up; it is no matter where that one runs.
    others?.on('upload wanted', ({ id }) => {
      const held = this.#held.get(id)
      if (held?.claimed) held.controller.abort(new TakenOver())
    })
  }

  /** Names this process in the claims it makes. */
  get writer(): string {
    return this.#writer
  }

  /** How many requests are adding bytes right now. */
  get size(): number {
    return this.#held.size
  }

  /** Ids of the sessions that requests of this process add bytes to, or are about to. */
  written(): string[] {
    return [...this.#held.keys()]
  }

  /** Says what the row of a session says now, for the next request of this process. */
  leave(key: UploadKey, session: UploadSession, ttlSeconds: number): void {
    this.#left?.leave(key, session, ttlSeconds)
  }

  /** @returns undefined when there is no such session */
  async acquire(key: UploadKey): Promise<UploadLock | undefined> {
    for (let older = this.#held.get(key.id); older; older = this.#held.get(key.id)) {
      // Only who may go on with the session may end the request that does.
      if ((await findUpload(this.#db, key)) === undefined) return undefined
      older.controller.abort(new TakenOver())
      await older.released
    }
    const { held, release } = this.#hold(key.id)
    const { signal } = held.controller
    const left = this.#left?.take(key)
    if (left !== undefined) {
      const done = async () => release()
      return { session: left, signal, writer: undefined, leftovers: false, release: done }
    }
    try {
      const session = await this.#claim(key, held)
      if (session === undefined) {
        release()
        return undefined
      }
      const writer = this.#writer
      const lock: UploadLock = {
        session,
        signal,
        writer,
        leftovers: false,
        release: async (saved) => {
          const { leftovers } = lock
          // A claim that is not given back runs out, and whoever is next assumes leftovers.
          if (!saved) await releaseUpload(this.#db, key.id, { writer, leftovers }).catch(() => {})
          release()
        },
      }
      return lock
    } catch (error) {
      release()
      throw error
    }
  }

  /** Ends a session that cannot go on, so that its client is told the same from now on. */
  async giveUp({ session, writer }: UploadLock): Promise<void> {
    await expireUpload(this.#db, session.id, writer).catch(() => {})
  }

  #hold(id: string): { held: Held; release: () => void } {
    const ended = new EventEmitter()
    const held: Held = {
      controller: new AbortController(),
      released: once(ended, 'released'),
      renewedAtMs: performance.now(),
      claimed: false,
    }
    this.#held.set(id, held)
    if (!this.#alone) {
      this.#renewal ??= setInterval(() => void this.#renew(), RENEW_EVERY_MS).unref()
    }
    const release = () => {
      this.#held.delete(id)
      if (this.#held.size === 0) {
        clearInterval(this.#renewal)
        this.#renewal = undefined
      }
      ended.emit('released')
    }
    return { held, release }
  }

  async #claim(key: UploadKey, held: Held): Promise<UploadSession | undefined> {
    const deadline = performance.now() + (CLAIM_SECONDS + 1) * 1000
    for (;;) {
      held.renewedAtMs = performance.now()
      const session = await claimUpload(this.#db, key, this.#claimTerms())
      if (session !== undefined) {
        held.claimed = true
        return session
      }
      // Unknown, or claimed elsewhere: only then is it worth waiting.
      if ((await findUpload(this.#db, key)) === undefined) return undefined
      if (this.#others?.areHeard()) {
        await endDeadClaim(this.#db, key.id)
        await this.#others.publish({ kind: 'upload wanted', id: key.id })
      }
      if (performance.now() > deadline) throw new ClaimedElsewhere()
      await sleep(POLL_MS)
    }
  }

  async #renew(): Promise<void> {
    this.#abortOverdue()
    const sentAtMs = performance.now()
    const claimed = [...this.#held].filter(([, held]) => held.claimed)
    const ids = claimed.map(([id]) => id)
    const renewed = await renewUploadClaims(this.#db, ids, this.#claimTerms()).catch(
      () => undefined,
    )
    if (renewed === undefined) return
    for (const [id, held] of claimed) {
      if (renewed.includes(id)) held.renewedAtMs = sentAtMs
      else held.controller.abort(new ClaimLost())
    }
  }

  /** Does not wait for the database, which may be what does not answer. */
  #abortOverdue(): void {
    const oldest = performance.now() - CLAIM_SECONDS * 1000 + SAFETY_MS
    for (const held of this.#held.values()) {
      if (held.renewedAtMs < oldest) held.controller.abort(new ClaimLost())
    }
  }

  #claimTerms() {
    const seconds = this.#alone ? ALONE_CLAIM_SECONDS : CLAIM_SECONDS
    return { writer: this.#writer, seconds, durable: this.#durable }
  }
}

/**
 * Runs `work` as the only one to add bytes to the session. It must have recorded that nobody
 * writes any more when it ends without an error.
 *
 * @throws RegistryError BLOB_UPLOAD_UNKNOWN, also when the bytes received before are gone
 */
export async function withUploadLock<T>(
  locks: UploadLocks,
  key: UploadKey,
  work: (lock: UploadLock) => Promise<T>,
): Promise<T> {
  const lock = await locks.acquire(key)
  if (lock === undefined) throw new RegistryError('BLOB_UPLOAD_UNKNOWN', key.id)
  let recorded = false
  try {
    const result = await work(lock)
    recorded = true
    return result
  } catch (error) {
    if (error instanceof UploadLost) {
      await locks.giveUp(lock)
      throw new RegistryError('BLOB_UPLOAD_UNKNOWN', key.id, { cause: error })
    }
    throw error
  } finally {
    await lock.release(recorded)
  }
}

/** A newer request for the same session has begun. */
export class TakenOver extends Error {
  override readonly name = 'TakenOver'

  constructor() {
    super('a newer request for this upload took over')
  }
}

/** Another process is adding bytes, and goes on doing so. */
export class ClaimedElsewhere extends Error {
  override readonly name = 'ClaimedElsewhere'

  constructor() {
    super('another request is adding to this upload')
  }
}

/** The database could not be told in time that this process still adds bytes. */
export class ClaimLost extends Error {
  override readonly name = 'ClaimLost'

  constructor() {
    super('the claim on this upload could not be renewed')
  }
}

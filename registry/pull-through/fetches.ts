import { truncate } from 'node:fs/promises'
import type { Logger } from 'pino'
import type { Digest } from '../../oci/digest.ts'
import type { Spool } from '../../storage/blob/spool.ts'
import type { Pool } from '../../storage/metadata/database.ts'
import { type FetchClaim, renewFetches } from '../../storage/metadata/fetches.ts'
import { UpstreamFailure } from '../../upstream/failure.ts'
import type { Registry } from '../registry.ts'
import { BlobFetch } from './blob-fetch.ts'
import type { UpstreamRepository } from './upstreams.ts'

const CLAIM_SECONDS = 15
const RENEW_EVERY_MS = 4000
/** Blobs under way in a process, those that wait for their turn included. */
const MOST = 500
/** Failures that are an upstream's answer, and no fault. */
const ANSWERS: ReadonlySet<string> = new Set(['unknown', 'denied'])

export interface FetchesOptions {
  readonly db: Pool
  /** Names this process in its claims: a UUID. */
  readonly process: string
  /** Where blobs grow whose store has no file for it. */
  readonly spool: Spool
  readonly log: Pick<Logger, 'warn' | 'info'>
}

/**
 * Blobs on their way from upstreams to this process: one fetch for each digest of an upstream, however
 * many wait for it. Of all processes on the database one fetches a digest, and the others follow.
 *
 * A fetch belongs to nobody who waits for it, and goes on when they leave.
 */
export class Fetches {
  readonly spool: Spool
  readonly process: string
  readonly #db: Pool
  readonly #log: FetchesOptions['log']
  /** By upstream and digest. */
  readonly #underWay = new Map<string, BlobFetch>()
  readonly #closing = new AbortController()
  #renewal: NodeJS.Timeout | undefined

  constructor({ db, process, spool, log }: FetchesOptions) {
    this.#db = db
    this.#log = log
    this.spool = spool
    this.process = process
  }

  /** How many blobs are on their way to this process. */
  get size(): number {
    return this.#underWay.size
  }

  get claim(): FetchClaim {
    return { process: this.process, seconds: CLAIM_SECONDS }
  }

  /**
   * The fetch of a blob from its upstream, begun unless it is under way.
   *
   * @throws UpstreamFailure when too many wait for their turn
   */
  join(registry: Registry, source: UpstreamRepository, digest: Digest): BlobFetch {
    const { name } = source.upstream.rule
    const underWay = this.#underWay.get(nameOf(name, digest))
    if (underWay !== undefined && underWay.state !== 'failed') return underWay
    if (this.#underWay.size >= MOST) {
      const retryAfterSeconds = 10
      throw new UpstreamFailure('unavailable', `${name}: too many blobs are asked for at a time`, {
        retryAfterSeconds,
      })
    }
    const fetch = new BlobFetch(registry, this, source, digest)
    this.#underWay.set(nameOf(name, digest), fetch)
    this.#renewal ??= setInterval(() => void this.#renew(), RENEW_EVERY_MS).unref()
    void this.#run(fetch)
    return fetch
  }

  /** The file in which the bytes of an upload session grow, be it on another machine. */
  fileOf({ blobs }: Registry, uploadId: string): string {
    return blobs.growingFile?.(uploadId) ?? this.spool.fileOf(uploadId)
  }

  /** Takes back what was written: other processes that follow the file are not to end it as whole. */
  async spoil(registry: Registry, uploadId: string): Promise<void> {
    await truncate(this.fileOf(registry, uploadId)).catch(() => {}) // gone already
  }

  /** Breaks off what is under way; what has arrived is kept, for the next process to go on with. */
  async close(): Promise<void> {
    this.#closing.abort(new UpstreamFailure('unavailable', 'the server stops'))
    clearInterval(this.#renewal)
    await Promise.all([...this.#underWay.values()].map((fetch) => fetch.ended))
  }

  async #run(fetch: BlobFetch): Promise<void> {
    const { digest, source } = fetch
    const failure = await fetch.run(this.#closing.signal)
    const name = nameOf(source.upstream.rule.name, digest)
    if (this.#underWay.get(name) === fetch) this.#underWay.delete(name)
    if (failure !== undefined) this.#report(fetch, failure)
    if (this.#underWay.size > 0) return
    clearInterval(this.#renewal)
    this.#renewal = undefined
  }

  #report({ source: { repository }, digest }: BlobFetch, failure: unknown): void {
    const isAnswer = failure instanceof UpstreamFailure && ANSWERS.has(failure.reason)
    if (isAnswer) this.#log.info({ why: failure.message, repository, digest }, 'blob not fetched')
    else this.#log.warn({ err: failure, repository, digest }, 'blob not fetched')
  }

  async #renew(): Promise<void> {
    const mine = [...this.#underWay].filter(([, fetch]) => fetch.isOwn)
    const renewed = await renewFetches(this.#db, this.claim).catch(() => undefined)
    if (renewed === undefined) return
    const still = new Set(renewed.map(({ upstream, digest }) => nameOf(upstream, digest)))
    // Another process fetches it by now. The session of the upload keeps the two apart.
    for (const [name, fetch] of mine) if (!still.has(name)) fetch.claimLost()
  }
}

function nameOf(upstream: string, digest: Digest): string {
  return `${upstream} ${digest}`
}

import { stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Digest } from '../../oci/digest.ts'
import type { ByteRange } from '../../storage/blob/blob-store.ts'
import { findBlob } from '../../storage/metadata/blobs.ts'
import {
  type ClaimedFetch,
  claimFetch,
  type FetchKey,
  findFetch,
  releaseFetch,
} from '../../storage/metadata/fetches.ts'
import { unlessAborted } from '../../upstream/deadline.ts'
import { UpstreamFailure } from '../../upstream/failure.ts'
import { readBlob } from '../blobs.ts'
import type { Registry } from '../registry.ts'
import type { Fetches } from './fetches.ts'
import { followFile, openGrowing } from './growing-file.ts'
import { Progress } from './progress.ts'
import { receiveBlob } from './receive-blob.ts'
import { blobKey, type UpstreamRepository } from './upstreams.ts'

/** How often to look how far another process is. */
const POLL_MS = 200

/** A blob on its way: fetched by this process, or by another one that is followed. */
export class BlobFetch {
  readonly digest: Digest
  readonly source: UpstreamRepository
  /** Resolves when nothing is under way any more, however it went. */
  readonly ended: Promise<unknown>
  readonly #key: FetchKey
  readonly #registry: Registry
  readonly #fetches: Fetches
  readonly #progress = new Progress()
  readonly #lost = new AbortController()
  /** Which process, and which of its uploads, writes the file that is followed. */
  #followed: string | undefined
  #isOwn = false
  #end: (failure: unknown) => void = () => {}

  constructor(registry: Registry, fetches: Fetches, source: UpstreamRepository, digest: Digest) {
    this.#registry = registry
    this.#fetches = fetches
    this.source = source
    this.digest = digest
    this.#key = blobKey(source, digest)
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  /** Whether this process has the claim. */
  get isOwn(): boolean {
    return this.#isOwn
  }

  get state(): Progress['state'] {
    return this.#progress.state
  }

  claimLost(): void {
    this.#lost.abort(new UpstreamFailure('unavailable', 'another process fetches the blob'))
  }

  /** Fetches the blob, or waits until another process has. Never rejects. @returns why it failed */
  async run(closing: AbortSignal): Promise<unknown> {
    const signal = AbortSignal.any([closing, this.#lost.signal])
    let failure: unknown
    try {
      await this.#bring(signal)
      this.#progress.settle('whole')
    } catch (error) {
      failure = error
      this.#progress.settle('failed', error)
    }
    this.#end(failure)
    return failure
  }

  /**
   * The size in bytes, as soon as the upstream has told it.
   *
   * @throws why the blob cannot be had
   */
  async size(): Promise<number> {
    for (;;) {
      if (this.#progress.sizeBytes > 0 || this.#progress.state === 'whole') {
        return this.#progress.sizeBytes
      }
      if (this.#progress.state === 'failed') throw this.#progress.failure
      await this.#progress.changed()
    }
  }

  /** The bytes as they arrive, under the terms of {@link followFile}. */
  async *read(range: ByteRange, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    for (;;) {
      const { state, file, failure } = this.#progress
      if (state === 'failed') throw failure
      if (state === 'whole') return yield* this.#readStored(range, signal)
      const opened = file === undefined ? undefined : await openGrowing(file)
      if (opened !== undefined) return yield* followFile(opened, range, this.#progress, signal)
      await unlessAborted(this.#progress.changed(), signal)
    }
  }

  async *#readStored(range: ByteRange, signal: AbortSignal | undefined) {
    const { db } = this.#registry
    const stored = await findBlob(db, this.source.repository, this.digest)
    if (stored === undefined) throw new UpstreamFailure('unavailable', 'it was deleted right away')
    yield* readBlob(this.#registry, stored, { range, ...(signal === undefined ? {} : { signal }) })
  }

  async #bring(signal: AbortSignal): Promise<void> {
    const { db } = this.#registry
    for (;;) {
      const record = await claimFetch(db, this.#key, this.#fetches.claim)
      if (record === undefined) {
        if (await this.#followOther(signal)) return
        continue
      }
      // What was read of another's file might not be what this process is about to write.
      if (this.#progress.file !== undefined) {
        await releaseFetch(db, this.#key, this.#fetches.process)
        throw new UpstreamFailure('unavailable', 'the process that fetched the blob died')
      }
      this.#isOwn = true
      return receiveBlob(this.#registry, {
        fetches: this.#fetches,
        source: this.source,
        digest: this.digest,
        left: record,
        progress: this.#progress,
        signal,
      })
    }
  }

  /** @returns whether the blob is there; false when nobody fetches it any more */
  async #followOther(signal: AbortSignal): Promise<boolean> {
    const { db } = this.#registry
    const { repository } = this.source
    for (;;) {
      const record = await findFetch(db, this.#key)
      this.#checkFollowed(record)
      const stored = await findBlob(db, repository, this.digest)
      if (stored !== undefined) {
        this.#progress.opened(stored.sizeBytes)
        return true
      }
      if (record === undefined) return false
      // What another repository fetches is not yet known to be in this one as well.
      if (record.repository === repository) await this.#see(record)
      await sleep(POLL_MS, undefined, { signal })
    }
  }

  /** @throws UpstreamFailure when others write now: what was read may not be what they write */
  #checkFollowed(record: ClaimedFetch | undefined): void {
    if (this.#followed === undefined || record === undefined) return
    if (nameOf(record) === this.#followed) return
    throw new UpstreamFailure('unavailable', 'the process that fetched the blob gave up')
  }

  async #see(record: ClaimedFetch): Promise<void> {
    const { sizeBytes, uploadId, growing } = record
    if (sizeBytes !== null) this.#progress.opened(sizeBytes)
    if (this.#progress.file === undefined && uploadId !== null && growing) {
      const file = this.#fetches.fileOf(this.#registry, uploadId)
      if (await isHere(file)) {
        this.#followed = nameOf(record)
        this.#progress.growsIn(file)
      }
    }
    this.#progress.tick()
  }
}

/** Not where it grows on another machine. */
function isHere(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  )
}

function nameOf({ process, uploadId, growing }: ClaimedFetch): string {
  return `${process} ${growing ? uploadId : ''}`
}

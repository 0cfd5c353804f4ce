import { createHash, type Hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { type Digest, type DigestAlgorithm, toDigest } from '../oci/digest.ts'

const MAX_SESSIONS = 10_000

/** A hash of the first `offset` bytes of an upload. */
export class RunningHash {
  readonly algorithm: DigestAlgorithm
  readonly #hash: Hash
  #offset: number

  constructor(algorithm: DigestAlgorithm, hash: Hash = createHash(algorithm), offset = 0) {
    this.algorithm = algorithm
    this.#hash = hash
    this.#offset = offset
  }

  get offset(): number {
    return this.#offset
  }

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk)
    this.#offset += chunk.length
  }

  /** The digest so far; more bytes may follow. */
  digest(): Digest {
    return toDigest(this.algorithm, this.#hash.copy())
  }

  copy(): RunningHash {
    return new RunningHash(this.algorithm, this.#hash.copy(), this.#offset)
  }
}

/**
 * Hashes of uploads between two requests. Node cannot write a hash down, so they live in this
 * process only; an upload that goes on without one is read once when it is finished.
 */
export class UploadHashes {
  readonly #hashes = new LRUCache<string, RunningHash>({ max: MAX_SESSIONS })

  /** A hash that stands at `offset`, to be updated by the caller; undefined when none is known. */
  at(id: string, offset: number, algorithm: DigestAlgorithm): RunningHash | undefined {
    if (offset === 0) return new RunningHash(algorithm)
    const hash = this.#hashes.get(id)
    return hash?.offset === offset && hash.algorithm === algorithm ? hash.copy() : undefined
  }

  keep(id: string, hash: RunningHash): void {
    this.#hashes.set(id, hash)
  }

  forget(id: string): void {
    this.#hashes.delete(id)
  }
}

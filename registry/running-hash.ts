import { createHash, type Hash } from 'node:crypto'
import { createSHA256, createSHA512, type IHasher } from 'hash-wasm'
import { type Digest, type DigestAlgorithm, formatDigest, toDigest } from '../oci/digest.ts'

/** A hash of the first `offset` bytes of an upload. */
export interface RunningHash {
  readonly algorithm: DigestAlgorithm
  readonly offset: number
  update(chunk: Uint8Array): void
  /** The digest so far; more bytes may follow. */
  digest(): Digest
  /** What another process needs to go on; undefined where the hash cannot be written down. */
  save(): Buffer | undefined
}

/** By Node's own implementation, which is five times as fast as any that can be written down. */
export class NativeHash implements RunningHash {
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

  digest(): Digest {
    return toDigest(this.algorithm, this.#hash.copy())
  }

  save(): undefined {
    return undefined
  }

  copy(): NativeHash {
    return new NativeHash(this.algorithm, this.#hash.copy(), this.#offset)
  }
}

/** One whose state can be kept with the session, for chunks that arrive at several processes. */
export class PortableHash implements RunningHash {
  readonly algorithm: DigestAlgorithm
  readonly #hasher: IHasher
  #offset: number

  private constructor(algorithm: DigestAlgorithm, hasher: IHasher, offset: number) {
    this.algorithm = algorithm
    this.#hasher = hasher
    this.#offset = offset
  }

  /** `state` is what {@link save} gave after `offset` bytes. */
  static async open(
    algorithm: DigestAlgorithm,
    { state, offset }: { state: Buffer | undefined; offset: number },
  ): Promise<PortableHash> {
    const hasher = await (algorithm === 'sha512' ? createSHA512() : createSHA256())
    hasher.init()
    if (state !== undefined) hasher.load(state)
    return new PortableHash(algorithm, hasher, offset)
  }

  get offset(): number {
    return this.#offset
  }

  update(chunk: Uint8Array): void {
    this.#hasher.update(chunk)
    this.#offset += chunk.length
  }

  digest(): Digest {
    // Its digest ends the hasher, which then takes up its state again.
    const state = this.#hasher.save()
    const hex = this.#hasher.digest('hex')
    this.#hasher.init()
    this.#hasher.load(state)
    return formatDigest(this.algorithm, hex)
  }

  save(): Buffer {
    return Buffer.from(this.#hasher.save())
  }
}

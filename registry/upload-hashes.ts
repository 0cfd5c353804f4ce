import { LRUCache } from 'lru-cache'
import type { DigestAlgorithm } from '../oci/digest.ts'
import type { UploadSession } from '../storage/metadata/uploads.ts'
import { atMost } from './at-most.ts'
import { NativeHash, PortableHash, type RunningHash } from './running-hash.ts'

const MAX_SESSIONS = 10_000

export interface HashOptions {
  readonly algorithm: DigestAlgorithm
  /** More chunks will follow, and may arrive at other processes. */
  readonly expectsMore: boolean
}

type HashedSession = Pick<UploadSession, 'id' | 'offset' | 'algorithm' | 'hashState'>

/**
 * Hashes of uploads between two requests: in this process, and with the session where several
 * share the database. An upload that goes on without one is read once when it is finished.
 */
export class UploadHashes {
  readonly #shared: boolean
  readonly #hashes = new LRUCache<string, NativeHash>(atMost(MAX_SESSIONS))

  /** `shared`: other processes may get the next chunk. */
  constructor({ shared = false } = {}) {
    this.#shared = shared
  }

  /** A hash that stands at the session's offset; undefined when none is known. */
  async at(
    { id, offset, algorithm: recorded, hashState }: HashedSession,
    { algorithm, expectsMore }: HashOptions,
  ): Promise<RunningHash | undefined> {
    const portable = this.#shared && expectsMore
    if (offset === 0) {
      return portable
        ? PortableHash.open(algorithm, { state: undefined, offset })
        : new NativeHash(algorithm)
    }
    if (hashState !== undefined && algorithm === recorded) {
      // One of another version of the library cannot be read: the bytes are, at the end.
      return PortableHash.open(algorithm, { state: hashState, offset }).catch(() => undefined)
    }
    const hash = this.#hashes.get(id)
    return hash?.offset === offset && hash.algorithm === algorithm ? hash.copy() : undefined
  }

  /** Remembers it until the next request, unless it is kept with the session. */
  keep(id: string, hash: RunningHash): void {
    if (hash instanceof NativeHash) this.#hashes.set(id, hash)
    else this.#hashes.delete(id)
  }

  forget(id: string): void {
    this.#hashes.delete(id)
  }
}

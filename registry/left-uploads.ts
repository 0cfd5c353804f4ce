import { LRUCache } from 'lru-cache'
import type { RepositoryName } from '../oci/reference.ts'
import type { RepositoryId } from '../storage/metadata/repositories.ts'
import type { UploadKey, UploadSession } from '../storage/metadata/uploads.ts'
import { atMost } from './at-most.ts'

const MAX_SESSIONS = 10_000
/** The clock of the database may be so much ahead: it tells when a session has ended. */
const CLOCK_MS = 5000

interface LeftUpload {
  readonly key: UploadKey
  readonly session: UploadSession
  /** By `performance.now()`. */
  readonly untilMs: number
}

/**
 * Sessions as this process left them, for its next request to take up without asking the database.
 * Of use only to the one process of a database, and to a store that finds all bytes of an upload
 * whoever wrote them.
 */
export class LeftUploads {
  readonly #repositoryId: (name: RepositoryName) => RepositoryId | undefined
  readonly #left = new LRUCache<string, LeftUpload>(atMost(MAX_SESSIONS))

  /** @param repositoryId of one that was not deleted since */
  constructor(repositoryId: (name: RepositoryName) => RepositoryId | undefined) {
    this.#repositoryId = repositoryId
  }

  /** What the row of the session has said for a moment, for `ttlSeconds`. */
  leave(key: UploadKey, session: UploadSession, ttlSeconds: number): void {
    const untilMs = performance.now() + ttlSeconds * 1000 - CLOCK_MS
    this.#left.set(session.id, { key, session, untilMs })
  }

  /**
   * What was left, once: who takes it up leaves it anew when it has changed.
   *
   * @returns undefined when only the database can tell
   */
  take({ id, repository, owner }: UploadKey): UploadSession | undefined {
    const left = this.#left.get(id)
    if (left === undefined || left.key.owner !== owner) return undefined
    if (left.key.repository !== repository) return undefined
    this.#left.delete(id)
    const isThere = this.#repositoryId(repository) === left.session.repositoryId
    return isThere && performance.now() < left.untilMs ? left.session : undefined
  }
}

import pLimit, { type LimitFunction } from 'p-limit'
import { RegistryError } from '../../oci/errors.ts'

/** Lets few at a time do something about the same thing; the others wait. */
export class Turns {
  readonly #atOnce: number
  readonly #mostWaiting: number
  readonly #limits = new Map<string, LimitFunction>()

  constructor({ atOnce, mostWaiting }: { readonly atOnce: number; readonly mostWaiting: number }) {
    this.#atOnce = atOnce
    this.#mostWaiting = mostWaiting
  }

  /** @throws RegistryError TOOMANYREQUESTS when too many wait, and as `work` does */
  async take<T>(key: string, work: () => Promise<T>): Promise<T> {
    const limit = this.#limits.get(key) ?? pLimit(this.#atOnce)
    this.#limits.set(key, limit)
    if (limit.pendingCount >= this.#mostWaiting) {
      throw new RegistryError('TOOMANYREQUESTS', 'too many at the same time')
    }
    try {
      return await limit(work)
    } finally {
      if (limit.activeCount + limit.pendingCount === 0) this.#limits.delete(key)
    }
  }
}

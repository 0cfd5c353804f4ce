import type { LRUCache } from 'lru-cache'

/** Where an answer is looked up that is not remembered. */
export interface Reading<Value> {
  readonly read: () => Promise<Value | undefined>
  /** Whether it may be remembered. */
  readonly keeps?: (value: Value) => boolean
}

/** Lookups of one key that are under way. */
interface Lookups {
  count: number
  /** Raised by every change: an older lookup may have seen what was before. */
  changes: number
}

/**
 * Answers by key. A lookup that began before a change must not bring the old answer back: what it
 * read is kept only if its key was not forgotten meanwhile.
 */
export class Remembered<Key extends string, Value extends {}> {
  readonly #values: LRUCache<Key, Value>
  readonly #lookups = new Map<Key, Lookups>()

  /** Takes over `values`. */
  constructor(values: LRUCache<Key, Value>) {
    this.#values = values
  }

  get(key: Key): Value | undefined {
    return this.#values.get(key)
  }

  /** Looks it up, whatever is remembered, and remembers what is found. */
  async fill(key: Key, { read, keeps = () => true }: Reading<Value>): Promise<Value | undefined> {
    const lookup = this.#begin(key)
    try {
      const value = await read()
      if (value !== undefined && lookup.isCurrent() && keeps(value)) this.#values.set(key, value)
      return value
    } finally {
      lookup.end()
    }
  }

  /**
   * Makes a change whose outcome is the answer from then on. What was the answer before is forgotten
   * in any case: a change that failed may have been made all the same.
   */
  async replace(key: Key, change: () => Promise<Value>, keeps: () => boolean): Promise<void> {
    const lookup = this.#begin(key)
    let value: Value | undefined
    let isCurrent = false
    try {
      value = await change()
      isCurrent = lookup.isCurrent()
    } finally {
      lookup.end()
      this.forget(key)
    }
    if (isCurrent && keeps()) this.#values.set(key, value)
  }

  forget(key: Key): void {
    const lookups = this.#lookups.get(key)
    if (lookups !== undefined) lookups.changes++
    this.#values.delete(key)
  }

  forgetAll(): void {
    for (const lookups of this.#lookups.values()) lookups.changes++
    this.#values.clear()
  }

  #begin(key: Key) {
    const lookups = this.#lookups.get(key) ?? { count: 0, changes: 0 }
    this.#lookups.set(key, lookups)
    lookups.count++
    const { changes } = lookups
    return {
      isCurrent: () => changes === lookups.changes,
      end: () => {
        if (--lookups.count === 0) this.#lookups.delete(key)
      },
    }
  }
}

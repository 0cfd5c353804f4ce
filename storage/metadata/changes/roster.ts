/**
 * Who listened lately, pieced together from looks at who listens now. A listener that is gone
 * from view is kept for a while: what broke may be its connection, and not the process.
 */
export class Roster {
  readonly #gapMs: number
  readonly #keepMs: number
  readonly #seenAtMs = new Map<string, number>()
  #lookedAtMs = Number.NEGATIVE_INFINITY
  /** Since then no gap between two looks was too long. */
  #gaplessSinceMs = Number.POSITIVE_INFINITY

  /** Nobody who can be seen for longer than `gapMs` is missed, nor forgotten within `keepMs`. */
  constructor({ gapMs, keepMs }: { readonly gapMs: number; readonly keepMs: number }) {
    this.#gapMs = gapMs
    this.#keepMs = keepMs
  }

  /** Takes down a look that began at `sentAtMs` and ends now. */
  saw(names: readonly string[], sentAtMs: number): void {
    const nowMs = performance.now()
    if (nowMs - this.#lookedAtMs > this.#gapMs) this.#gaplessSinceMs = nowMs
    this.#lookedAtMs = sentAtMs
    for (const name of names) this.#seenAtMs.set(name, nowMs)
    for (const [name, atMs] of this.#seenAtMs) {
      if (nowMs - atMs > this.#keepMs) this.#seenAtMs.delete(name)
    }
  }

  /** Undefined when somebody may have been missed. */
  names(): string[] | undefined {
    const nowMs = performance.now()
    const isComplete =
      nowMs - this.#lookedAtMs <= this.#gapMs && nowMs - this.#gaplessSinceMs >= this.#keepMs
    return isComplete ? [...this.#seenAtMs.keys()] : undefined
  }
}

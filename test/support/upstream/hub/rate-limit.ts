/** How many manifests may be pulled, as Docker Hub counts: GET, and not HEAD. */
export class RateLimit {
  readonly #limit: number
  remaining: number

  constructor(limit: number) {
    this.#limit = limit
    this.remaining = limit
  }

  /** @returns whether there was one left */
  take(): boolean {
    if (this.remaining <= 0) return false
    this.remaining--
    return true
  }

  /** @param source whose limit it is: an address, or the id of an account */
  headers(source: string): Record<string, string> {
    if (this.#limit === Number.POSITIVE_INFINITY) return {}
    const window = 'w=21600' // seconds
    return {
      'RateLimit-Limit': `${this.#limit};${window}`,
      'RateLimit-Remaining': `${this.remaining};${window}`,
      'Docker-RateLimit-Source': source,
    }
  }
}

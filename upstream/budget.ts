import type { IncomingHttpHeaders } from 'node:http'

/** When no window is told: that of Docker Hub. */
const WINDOW_SECONDS = 21_600

interface Reading {
  readonly limit: number
  readonly left: number
  readonly at: Date
  readonly windowSeconds: number
}

/**
 * What the upstream's rate limit leaves, as its answers tell: `ratelimit-limit: 100;w=21600` and
 * `ratelimit-remaining: 76;w=21600`, where w is the length of the window in seconds.
 */
export class Budget {
  readonly #reserve: number
  readonly #now: () => number
  #reading: Reading | undefined

  /** @param reserve requests that are kept for what is not there yet */
  constructor(reserve: number, now: () => number) {
    this.#reserve = reserve
    this.#now = now
  }

  get reading(): { readonly limit: number; readonly left: number; readonly at: Date } | undefined {
    if (this.#reading === undefined) return undefined
    const { limit, left, at } = this.#reading
    return { limit, left, at }
  }

  /** Whether there is more left than the reserve, or nobody knows any more. */
  get leavesRoom(): boolean {
    if (this.#reading === undefined || this.#reading.left > this.#reserve) return true
    const { at, windowSeconds } = this.#reading
    return this.#now() >= at.getTime() + windowSeconds * 1000
  }

  read(headers: IncomingHttpHeaders): void {
    const limit = parseQuota(headers['ratelimit-limit'])
    const left = parseQuota(headers['ratelimit-remaining'])
    if (limit === undefined || left === undefined) return
    const windowSeconds = left.windowSeconds ?? limit.windowSeconds ?? WINDOW_SECONDS
    const at = new Date(this.#now())
    this.#reading = { limit: limit.requests, left: left.requests, at, windowSeconds }
  }
}

function parseQuota(
  header: string | string[] | undefined,
): { requests: number; windowSeconds: number | undefined } | undefined {
  const match = /^\s*(\d{1,9})\s*(?:;\s*w\s*=\s*(\d{1,7})\b.*)?$/.exec(String(header ?? ''))
  if (match === null) return undefined
  const windowSeconds = match[2] === undefined ? undefined : Number(match[2])
  return { requests: Number(match[1]), windowSeconds }
}

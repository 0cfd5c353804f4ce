import type { Queryable } from '../../storage/metadata/database.ts'
import {
  type ActivityCounts,
  type ActivityReport,
  addActivity,
} from '../../storage/metadata/upstream-activity.ts'
import type { UpstreamCondition } from '../../upstream/upstream.ts'

export type { ActivityCounts }

type Counts = { -readonly [Count in keyof ActivityCounts]: ActivityCounts[Count] }

/**
 * What this process did for each upstream. Counting never waits for the database: background work
 * calls {@link flush} now and then.
 */
export class Activity {
  readonly #totals = new Map<string, Counts>()
  /** Not flushed yet. */
  #deltas = new Map<string, Counts>()
  /** The condition of each upstream as it was flushed last. */
  readonly #told = new Map<string, string>()

  /** Something was answered from what is kept: `bytes` of it, unless {@link served} has them. */
  hit(upstream: string, bytes = 0): void {
    this.#add(upstream, { hits: 1, servedBytes: bytes })
  }

  /** Something had to be fetched. */
  miss(upstream: string): void {
    this.#add(upstream, { misses: 1 })
  }

  /** A hit, counted as such as well, was served because the upstream failed. */
  stale(upstream: string): void {
    this.#add(upstream, { stale: 1 })
  }

  /** Bytes were sent to a client, whatever their source. */
  served(upstream: string, bytes: number): void {
    this.#add(upstream, { servedBytes: bytes })
  }

  /** Bytes came from the upstream. */
  fetched(upstream: string, bytes: number): void {
    this.#add(upstream, { fetchedBytes: bytes })
  }

  /** Bytes went to make room. */
  evicted(upstream: string, bytes: number): void {
    this.#add(upstream, { evictedBytes: bytes })
  }

  /** Of each upstream, since the process began. */
  totals(): ReadonlyMap<string, ActivityCounts> {
    return this.#totals
  }

  /**
   * Adds what is new to what the database has of all processes. When it fails nothing is lost: the
   * next flush has it.
   */
  async flush(db: Queryable, conditions: ReadonlyMap<string, UpstreamCondition>): Promise<void> {
    const deltas = this.#deltas
    this.#deltas = new Map()
    const reports = this.#reports(deltas, conditions)
    if (reports.length === 0) return
    try {
      await addActivity(db, reports)
    } catch (error) {
      for (const [upstream, counts] of deltas) addTo(this.#deltas, upstream, counts)
      throw error
    }
    for (const [upstream, condition] of conditions) this.#told.set(upstream, textOf(condition))
  }

  #add(upstream: string, counts: Partial<ActivityCounts>): void {
    addTo(this.#deltas, upstream, counts)
    addTo(this.#totals, upstream, counts)
  }

  /** Of upstreams that were asked something, or are doing other than they were. */
  #reports(
    deltas: ReadonlyMap<string, Counts>,
    conditions: ReadonlyMap<string, UpstreamCondition>,
  ): ActivityReport[] {
    const changed = [...conditions].filter(([upstream, condition]) => {
      return this.#told.get(upstream) !== textOf(condition)
    })
    const names = new Set([...deltas.keys(), ...changed.map(([upstream]) => upstream)])
    return [...names].map((name) => ({
      name,
      counts: deltas.get(name) ?? ZERO,
      condition: conditions.get(name) ?? {},
    }))
  }
}

const ZERO: ActivityCounts = {
  hits: 0,
  misses: 0,
  stale: 0,
  fetchedBytes: 0,
  servedBytes: 0,
  evictedBytes: 0,
}

function addTo(sums: Map<string, Counts>, upstream: string, counts: Partial<ActivityCounts>): void {
  const sum = sums.get(upstream) ?? { ...ZERO }
  sum.hits += counts.hits ?? 0
  sum.misses += counts.misses ?? 0
  sum.stale += counts.stale ?? 0
  sum.fetchedBytes += counts.fetchedBytes ?? 0
  sum.servedBytes += counts.servedBytes ?? 0
  sum.evictedBytes += counts.evictedBytes ?? 0
  sums.set(upstream, sum)
}

/** Without the bytes it received, which are counted here. */
function textOf({ brokenUntil, budget, lastError }: UpstreamCondition): string {
  return JSON.stringify([brokenUntil, budget, lastError])
}

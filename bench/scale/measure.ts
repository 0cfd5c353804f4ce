/* Runs operations on both registries, in turn. */
import path from 'node:path'
import type { BlobStore } from '../../storage/blob/blob-store.ts'
import { openPool, type Pool } from '../../storage/metadata/database.ts'
import { median } from '../measure/statistics.ts'
import type { Connection } from './build.ts'
import type { Size } from './content.ts'
import type { Operation } from './operation.ts'
import { openExplainedPool, type RanStatement } from './plans.ts'
import { createRegistry } from './stage.ts'

/** A registry that was generated. */
export interface Site {
  readonly connection: Connection
  readonly size: Size
  readonly blobs: BlobStore
  readonly directory: string
}

/** What an operation took on one of the registries. */
export interface Found {
  /** Median, in milliseconds. */
  readonly ms: number
  /** Pages of tables and indexes, as each was planned for its values, and after the fifth execution. */
  readonly earlyPages: number
  readonly latePages: number
  /** Of the last run. */
  readonly statements: readonly RanStatement[]
  /** Of one in which all plans were made for any values: those of prepared statements. */
  readonly generic: readonly RanStatement[]
}

/** More than the five executions after which the server may take one plan for all values. */
const EXPLAINED = 9
const GENERIC = 2

export interface Measuring {
  measure(operation: Operation, runs: number): Promise<Found[]>
  close(): Promise<void>
}

export function openMeasuring(sites: readonly Site[]): Measuring {
  const plain = sites.map(({ connection }) => openPool({ connection, size: 1, onError: () => {} }))
  const explained = sites.map(({ connection }) => openExplainedPool(connection))
  const generic = sites.map(({ connection }) => openExplainedPool(connection, true))
  const pools = [plain, explained.map(({ pool }) => pool), generic.map(({ pool }) => pool)]
  return {
    measure: async (operation, runs) => {
      const turns = sites.map((site) => new Turns(operation, site))
      // Each takes its turn after the other, for machines get slower and faster.
      const times = sites.map((): number[] => [])
      for (let run = 0; run <= runs; run++) {
        for (const [at, turn] of turns.entries()) {
          const ms = await turn.run(plain[at]!)
          if (run > 0) times[at]?.push(ms)
        }
      }
      const found: Found[] = []
      for (const [at, turn] of turns.entries()) {
        const each = await explainRuns(turn, explained[at]!, EXPLAINED)
        const any = await explainRuns(turn, generic[at]!, GENERIC)
        const pages = each.map((ran) => ran.reduce((sum, { pages: some }) => sum + some, 0))
        found.push({
          ms: median(times[at] ?? []),
          earlyPages: median(pages.slice(2, 5)),
          latePages: median(pages.slice(-3)),
          statements: each.at(-1) ?? [],
          generic: (any.at(-1) ?? []).filter(({ isPrepared }) => isPrepared),
        })
      }
      return found
    },
    close: async () => {
      for (const pool of pools.flat()) await pool.end()
    },
  }
}

/** The runs of one operation on one registry. */
class Turns {
  readonly #operation: Operation
  readonly #site: Site
  #n = 0

  constructor(operation: Operation, site: Site) {
    this.#operation = operation
    this.#site = site
  }

  /** @param ready called after what is not measured @returns milliseconds */
  async run(pool: Pool, ready: () => void = () => {}): Promise<number> {
    const { size, blobs, directory } = this.#site
    const registry = createRegistry(pool, blobs, path.join(directory, 'spool'))
    const turn = { registry, size, n: this.#n++ }
    await this.#operation.before?.(turn)
    ready()
    const started = performance.now()
    await this.#operation.run(turn)
    return performance.now() - started
  }
}

/** @returns the statements of each run */
async function explainRuns(
  turns: Turns,
  { pool, take }: ReturnType<typeof openExplainedPool>,
  runs: number,
): Promise<RanStatement[][]> {
  const all: RanStatement[][] = []
  for (let run = 0; run < runs; run++) {
    await turns.run(pool, () => void take())
    all.push(take())
  }
  return all
}

import type { Registry } from '../../registry/registry.ts'
import { BLOCK, hotManifests, type Size } from './content.ts'

/** One run of an operation. */
export interface Turn {
  readonly registry: Registry
  readonly size: Size
  /** Counts the runs of an operation on a database, from 0: each may use up content of its own. */
  readonly n: number
}

export interface Operation {
  readonly title: string
  /** Not measured. */
  readonly before?: (turn: Turn) => Promise<unknown>
  /** @throws Error when it did not do what it should */
  readonly run: (turn: Turn) => Promise<unknown>
}

/** The id of a manifest of a hot repository: blocks count from 0, places in them to 4. */
export function hotManifest(size: Size, hot: 1 | 2 | 3, block: number, place: number): number {
  return (hot - 1) * hotManifests(size) + block * BLOCK + place + 1
}

/** @throws Error unless there are exactly so many */
export function expectCount(found: number, expected: number): void {
  if (found !== expected) throw new Error(`${found} instead of ${expected}`)
}

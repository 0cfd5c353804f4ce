import type { Sides } from './bench.ts'
import type { Usage } from './measure/process-tree.ts'
import { median } from './measure/statistics.ts'

/** What the issue asks of a figure. */
export type Target =
  /** Ratio of medians, ours to the peer's. */
  | { readonly kind: 'ratio at least' | 'ratio at most'; readonly bound: number }
  /** Our own median. */
  | { readonly kind: 'ours at most'; readonly bound: number }

/** One line of the results: a figure of every round, of both sides. */
export interface Comparison {
  /** The letter of its case. */
  readonly letter: string
  readonly what: string
  readonly unit: string
  readonly figures: Sides<readonly number[]>
  readonly target?: Target
  readonly usage?: Sides<readonly Usage[]>
  /** A sentence for the reader. */
  readonly note?: string
}

/** Ratio of medians, ours to the peer's. */
export function ratioOf({ figures }: Comparison): number {
  return median(figures.ours) / median(figures.peer)
}

/** Undefined where no target is set. */
export function meetsTarget(comparison: Comparison): boolean | undefined {
  return comparison.target && meets(comparison, comparison.target, 1)
}

/** Missed by a factor of two: more than noise. */
export function isFarFromTarget(comparison: Comparison): boolean {
  return comparison.target !== undefined && !meets(comparison, comparison.target, 2)
}

function meets(comparison: Comparison, { kind, bound }: Target, leeway: number): boolean {
  if (kind === 'ratio at least') return ratioOf(comparison) >= bound / leeway
  if (kind === 'ratio at most') return ratioOf(comparison) <= bound * leeway
  return median(comparison.figures.ours) <= bound * leeway
}

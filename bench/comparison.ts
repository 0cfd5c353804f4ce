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
  const { target, figures } = comparison
  if (target === undefined) return undefined
  if (target.kind === 'ratio at least') return ratioOf(comparison) >= target.bound
  if (target.kind === 'ratio at most') return ratioOf(comparison) <= target.bound
  return median(figures.ours) <= target.bound
}

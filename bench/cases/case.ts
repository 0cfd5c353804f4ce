import type { Bench } from '../bench.ts'
import type { Comparison } from '../comparison.ts'

export interface Case {
  /** By which `--only` and the issue name it. */
  readonly letter: string
  readonly title: string
  /** Has a setup of its own, or compares with no other. */
  readonly inPlainSetupOnly?: boolean
  /** Measures and never judges: slowness is a figure, only a wrong answer is an error. */
  run(this: void, bench: Bench): Promise<Comparison[]>
}

import type { Span } from './operations.ts'

/** Each round asks for so many repositories, or for all there are. */
const fewest = 10_000

/** What one round asks for, the same for both sides. */
export interface Sample {
  readonly repositories: readonly number[]
  /** No other round of the same has asked for any of them. */
  readonly isFresh: boolean
}

/** The sample of each round, with that of the warm-up as the first; the same at each call. */
export function samplesOf({ first, end }: Span, rounds: number): Sample[] {
  const order = shuffled(first, end)
  const parts = rounds + 1
  const size = Math.max(Math.floor(order.length / parts), Math.min(order.length, fewest))
  return Array.from({ length: parts }, (_, part) => ({
    repositories: Array.from({ length: size }, (__, n) => order[(part * size + n) % order.length]!),
    isFresh: parts * size <= order.length,
  }))
}

function shuffled(first: number, end: number): number[] {
  const numbers = Array.from({ length: end - first }, (_, n) => first + n)
  const random = randomNumbers(1)
  for (let at = numbers.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1))
    const moved = numbers[at]!
    numbers[at] = numbers[other]!
    numbers[other] = moved
  }
  return numbers
}

/** From 0 to below 1: the generator called mulberry32. */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

import { median } from '../../bench/measure/statistics.ts'

interface Point {
  readonly x: number
  readonly y: number
}

/** How many points are compared with each other; more are thinned out. */
const MOST_POINTS = 200

/**
 * The median of the slopes between every two points (Theil and Sen): up to a quarter of the points
 * may be anything. 0 of fewer than two.
 */
export function slopeOf(points: readonly Point[]): number {
  const step = Math.ceil(points.length / MOST_POINTS)
  const some = points.filter((_point, index) => index % step === 0)
  const slopes = some.flatMap((from, index) =>
    some
      .slice(index + 1)
      .filter(({ x }) => x !== from.x)
      .map(({ x, y }) => (y - from.y) / (x - from.x)),
  )
  return slopes.length === 0 ? 0 : median(slopes)
}

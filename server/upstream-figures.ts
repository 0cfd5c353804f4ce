import type { UpstreamFigures } from '../observability/upstream-series.ts'
import type { PullThrough } from '../registry/pull-through/pull-through.ts'

/** What the metrics tell of each upstream, as far as this process knows. */
export function upstreamFigures({ upstreams, activity }: PullThrough): UpstreamFigures[] {
  const totals = activity.totals()
  return upstreams.all.map(({ rule: { name }, client }) => {
    const { brokenUntil, budget } = client.condition()
    return {
      name,
      ...totals.get(name),
      isBroken: brokenUntil !== undefined && brokenUntil.getTime() > Date.now(),
      budgetLeft: budget?.left,
    }
  })
}

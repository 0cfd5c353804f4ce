import { type Bench, sides, withPair } from '../bench.ts'
import { runLoad } from '../client/load.ts'
import { serverOf } from '../client/server.ts'
import type { Comparison } from '../comparison.ts'
import type { Case } from './case.ts'
import { compareRates } from './rates.ts'

export const listingsCase: Case = { letter: 'g', title: 'tag pages and the catalog', run }

const repository = 'bench/tags'
const prefix = 'bench/catalog'

function run(bench: Bench): Promise<Comparison[]> {
  const { tags, repositories } = bench.scale
  const tagPage = `/v2/${repository}/tags/list?n=100`
  const catalogPage = '/v2/_catalog?n=100'
  const middleRepository = encodeURIComponent(`${prefix}-${middle(repositories)}`)
  const pages = [
    { what: `first 100 of ${tags} tags`, path: tagPage, leastRatio: 20 },
    {
      what: `100 tags from the middle of ${tags}`,
      path: `${tagPage}&last=tag-${middle(tags)}`,
      leastRatio: 20,
    },
    { what: `first 100 of ${repositories} repositories`, path: catalogPage, leastRatio: 50 },
    {
      what: `100 repositories from the middle of ${repositories}`,
      path: `${catalogPage}&last=${middleRepository}`,
      leastRatio: 50,
    },
  ]
  return withPair(bench, async (pair) => {
    for (const side of sides) {
      const server = serverOf(pair[side])
      const job = { kind: 'listings', ...server, repository, tags, prefix, repositories } as const
      await runLoad({ ...job, concurrency: 32 })
    }
    const comparisons: Comparison[] = []
    for (const { what, path, leastRatio } of pages) {
      const lines = await compareRates(bench, pair, {
        letter: 'g',
        what,
        method: 'GET',
        paths: { ours: [path], peer: [path] },
        // Few, because each costs the peer much: more would only queue.
        connections: 8,
        leastRatio,
      })
      comparisons.push(...lines)
    }
    return comparisons
  })
}

/** How the load numbers the one in the middle of `count`. */
function middle(count: number): string {
  return String(Math.floor(count / 2)).padStart(5, '0')
}

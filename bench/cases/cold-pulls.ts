import {
  alternate,
  type Bench,
  figures,
  measureServer,
  type Sides,
  usages,
  withPair,
} from '../bench.ts'
import type { ContentFile } from '../client/content.ts'
import { measurePulls } from '../client/load.ts'
import type { PullTimes } from '../client/pulls.ts'
import { serverOf } from '../client/server.ts'
import { run as command } from '../command.ts'
import type { Comparison } from '../comparison.ts'
import type { Measured } from '../measure/process-tree.ts'
import { median } from '../measure/statistics.ts'
import type { Peer } from '../peers/peer.ts'
import type { Traffic } from '../upstream/link.ts'
import { type Upstream, withUpstream } from '../upstream/upstream.ts'
import type { Case } from './case.ts'

/** Both are caches of one registry, and neither has what is pulled. */
export const coldPullsCase: Case = {
  letter: 'j',
  title: 'cold pulls through a cache',
  inPlainSetupOnly: true,
  run,
}

const letter = 'j'
const smallBytes = 2 ** 20
/** A program that compiles while it runs needs a few before it is what it stays. */
const warmUps = 5
const slowBytesPerSecond = 50e6

interface ColdPull {
  /** A word for the names of its repositories. */
  readonly word: string
  readonly what: string
  readonly sizeBytes: number
  /** Clients at once, for one layer. */
  readonly times: number
  readonly rounds: number
  /** Of the line to the upstream. */
  readonly bytesPerSecond?: number
}

interface Pulled {
  /** One for each client. */
  readonly result: readonly PullTimes[]
  readonly traffic: Traffic
}

type Rounds = Sides<Measured<Pulled>[]>

function run(bench: Bench): Promise<Comparison[]> {
  const { coldLayerBytes: sizeBytes, parallelPulls: times, rounds } = bench.scale
  const size = `${sizeBytes / 2 ** 20} MiB`
  const what = `cold pull of ${size}`
  const alone = { word: 'alone', what, sizeBytes, times: 1, rounds }
  const small = {
    ...alone,
    word: 'small',
    what: `cold pull of ${smallBytes / 2 ** 20} MiB`,
    sizeBytes: smallBytes,
    // Quickly done, and one alone says little.
    rounds: rounds * 4,
  }
  const slow = {
    ...alone,
    word: 'slow',
    what: `${what}, upstream at ${slowBytesPerSecond / 1e6} MB/s`,
    bytesPerSecond: slowBytesPerSecond,
  }
  const together = {
    ...alone,
    word: 'together',
    what: `${times} cold pulls of ${size} at once`,
    times,
  }
  return withUpstream(bench, (upstream) =>
    withPair({ ...bench, upstreamUrl: upstream.url }, async (pair) => {
      const pull = (cold: ColdPull) => pullCold(bench, upstream, pair, cold)
      await pull({ ...small, word: 'warm-up', rounds: warmUps })
      return [
        ...describeSmall(small, await pull(small)),
        ...describeOne(alone, await pull(alone)),
        ...describeOne(slow, await pull(slow)),
        ...describeMany(together, await pull(together)),
      ]
    }),
  )
}

/** Each round has a layer and a repository that are new to both sides. */
async function pullCold(
  bench: Bench,
  upstream: Upstream,
  pair: Sides<Peer>,
  { word, sizeBytes, times, rounds, bytesPerSecond }: ColdPull,
): Promise<Rounds> {
  const repositoryOf = (round: number) => `bench/${word}-${round}`
  const layers: ContentFile[] = []
  for (let round = 1; round <= rounds; round++) {
    layers.push(await upstream.pushUnique(bench, repositoryOf(round), sizeBytes))
  }
  await command('sync')
  await upstream.limit(bytesPerSecond)
  try {
    return await alternate(pair, rounds, (peer, round) => {
      const { upstreamPrefix } = bench.kinds[peer === pair.ours ? 'ours' : 'peer']
      const path = `/v2/${upstreamPrefix}${repositoryOf(round)}/blobs/${layers[round - 1]?.digest}`
      const server = serverOf(peer)
      // What goes on when the clients have everything belongs to the cost of the pull.
      return measureServer(peer, () =>
        upstream.count(() => measurePulls({ ...server, path, sizeBytes, times })),
      )
    })
  } finally {
    await upstream.limit(undefined)
  }
}

function describeOne({ what, sizeBytes, bytesPerSecond }: ColdPull, rounds: Rounds): Comparison[] {
  const throughput: Comparison = {
    letter,
    what,
    unit: 'MB/s',
    figures: figures(rounds, (pulled) => sizeBytes / 1e6 / secondsOf(pulled)),
    target: { kind: 'ratio at least', bound: 1 },
    usage: usages(rounds),
  }
  const lines = [firstByteOf(what, rounds), throughput]
  if (bytesPerSecond !== undefined) return lines
  return [...lines, cpuFor(sizeBytes, rounds), bytesFor('for one pull', sizeBytes, rounds)]
}

function firstByteOf(what: string, rounds: Rounds): Comparison {
  return {
    letter,
    what: `${what}, first byte`,
    unit: 'ms',
    figures: figures(rounds, ({ result }) => median(result.map((pull) => pull.firstByteMs))),
    target: { kind: 'ratio at most', bound: 1 },
  }
}

function describeSmall({ what }: ColdPull, rounds: Rounds): Comparison[] {
  const wholeMs = figures(rounds, (pulled) => secondsOf(pulled) * 1000)
  return [
    firstByteOf(what, rounds),
    { letter, what: `${what}, whole`, unit: 'ms', figures: wholeMs },
  ]
}

function describeMany({ what, sizeBytes, times }: ColdPull, rounds: Rounds): Comparison[] {
  const { ours, peer } = figures(rounds, ({ traffic }) => traffic.blobRequests)
  return [
    { letter, what, unit: 's', figures: figures(rounds, secondsOf), usage: usages(rounds) },
    bytesFor(`for ${times} at once`, sizeBytes, rounds),
    {
      letter,
      what: `requests to the upstream for ${times} at once`,
      unit: 'requests',
      figures: figures(rounds, ({ traffic }) => traffic.requests),
      note: `GETs of the blob among them: ${median(ours)} / ${median(peer)}`,
    },
  ]
}

function cpuFor(sizeBytes: number, rounds: Rounds): Comparison {
  const gibibytes = sizeBytes / 2 ** 30
  const { ours, peer } = usages(rounds)
  return {
    letter,
    what: 'server CPU for it',
    unit: 's/GiB',
    figures: {
      ours: ours.map(({ cpuSeconds }) => cpuSeconds / gibibytes),
      peer: peer.map(({ cpuSeconds }) => cpuSeconds / gibibytes),
    },
  }
}

function bytesFor(pulls: string, sizeBytes: number, rounds: Rounds): Comparison {
  return {
    letter,
    what: `bytes from the upstream ${pulls}`,
    unit: '× its size',
    figures: figures(rounds, ({ traffic }) => traffic.bytes / sizeBytes),
    target: { kind: 'ours at most', bound: 1.01 },
  }
}

/** Until the last client has everything. */
function secondsOf({ result }: Pulled): number {
  return Math.max(...result.map(({ seconds }) => seconds))
}

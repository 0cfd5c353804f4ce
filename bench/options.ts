import path from 'node:path'
import { parseArgs } from 'node:util'

export const usage = `Usage: npm run bench -- [options]

  --only a,c      run only these cases, of a to k
  --quick         small sizes and few rounds: to see that it runs, not to believe its figures
  --guard         fail when a figure is not even half as good as its target
  --rounds N      rounds of every case, instead of 5 (3 where a round moves 1 GiB or more)
  --setup a,b     how both are installed, in turn: default, token, external, workers, s3 (default:
                  default alone; for the file of results all)
  --out FILE      write the results here (default bench/RESULTS.md when all is run in full)
  --profile DIR   Slipway leaves CPU profiles of Node here (its figures are then worse)
  --self-check    a second docker-registry instead of Slipway: ratios should be near 1
`

export interface Options {
  /** Letters of cases; undefined: all. */
  readonly only: readonly string[] | undefined
  readonly quick: boolean
  /** Names of setups; undefined: the one that is installed by itself. */
  readonly setups: readonly string[] | undefined
  readonly out: string | undefined
  /** Whether to fail when a target is missed by far. */
  readonly guards: boolean
  /** Absolute. */
  readonly profileDirectory: string | undefined
  readonly selfCheck: boolean
  readonly scale: Scale
}

/** How much each case does. */
export interface Scale {
  readonly rounds: number
  /** Of cases whose round takes long. */
  readonly longRounds: number
  readonly layerBytes: number
  /** Of one that is pulled through a cache that does not have it. */
  readonly coldLayerBytes: number
  readonly parallelBlobs: number
  readonly blobBytes: number
  readonly images: number
  readonly parallelPulls: number
  /** Of one run of wrk. */
  readonly rateSeconds: number
  readonly tags: number
  readonly repositories: number
  readonly slowUploads: number
  readonly slowSeconds: number
}

const full: Scale = {
  rounds: 5,
  longRounds: 3,
  layerBytes: 2 ** 30,
  coldLayerBytes: 256 * 2 ** 20,
  parallelBlobs: 64,
  blobBytes: 4 * 2 ** 20,
  images: 500,
  parallelPulls: 16,
  rateSeconds: 3,
  tags: 10_000,
  repositories: 5_000,
  slowUploads: 200,
  slowSeconds: 10,
}

const quick: Scale = {
  ...full,
  rounds: 2,
  longRounds: 1,
  layerBytes: 128 * 2 ** 20,
  coldLayerBytes: 32 * 2 ** 20,
  images: 100,
  rateSeconds: 1,
  tags: 500,
  repositories: 200,
  slowSeconds: 4,
}

/** @throws Error that says which argument is wrong */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      quick: { type: 'boolean', default: false },
      guard: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      setup: { type: 'string' },
      out: { type: 'string' },
      profile: { type: 'string' },
      'self-check': { type: 'boolean', default: false },
    },
  })
  const scale = values.quick ? quick : full
  const rounds = values.rounds === undefined ? undefined : count('--rounds', values.rounds)
  return {
    only: values.only?.split(','),
    quick: values.quick,
    setups: values.setup?.split(','),
    out: values.out,
    guards: values.guard,
    profileDirectory: values.profile === undefined ? undefined : path.resolve(values.profile),
    selfCheck: values['self-check'],
    scale: rounds === undefined ? scale : { ...scale, rounds, longRounds: rounds },
  }
}

function count(option: string, text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new Error(`${option} takes a whole number from 1`)
  return Number(text)
}

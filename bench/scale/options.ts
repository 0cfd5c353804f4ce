import path from 'node:path'
import { parseArgs } from 'node:util'
import type { Size } from './content.ts'

const usage = `Usage: npm run bench:scale -- [options]

  --repositories N  of the larger registry, instead of 100,000; at least 1000
  --manifests N     at least ten for each repository, instead of 1,000,000; a multiple of 5000
  --edges N         from manifests to blobs and to manifests they list, instead of 10,000,000
  --runs N          measured runs of every operation, instead of 15
  --plans FILE      write the plans of all statements there
  --out FILE        write the results there, as Markdown
`

/** The smaller registry has this part of everything, but no less than operations use up. */
const SMALLER = 100

export interface Options {
  readonly sizes: { readonly small: Size; readonly large: Size }
  readonly runs: number
  /** Absolute; undefined: nowhere. */
  readonly plans: string | undefined
  readonly out: string | undefined
}

/** @throws Error that says which argument is wrong, with the usage */
export function parseOptions(args: readonly string[]): Options {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        repositories: { type: 'string', default: '100000' },
        manifests: { type: 'string', default: '1000000' },
        edges: { type: 'string', default: '10000000' },
        runs: { type: 'string', default: '15' },
        plans: { type: 'string' },
        out: { type: 'string' },
      },
    })
    const large = {
      repositories: count('--repositories', values.repositories),
      manifests: count('--manifests', values.manifests),
      edges: count('--edges', values.edges),
    }
    check(large)
    const small = {
      repositories: Math.max(1000, Math.floor(large.repositories / SMALLER / 100) * 100),
      manifests: Math.max(10_000, Math.floor(large.manifests / SMALLER / 5000) * 5000),
      edges: Math.max(100_000, Math.floor(large.edges / SMALLER)),
    }
    return {
      sizes: { small, large },
      runs: count('--runs', values.runs),
      plans: values.plans === undefined ? undefined : path.resolve(values.plans),
      out: values.out === undefined ? undefined : path.resolve(values.out),
    }
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\n${usage}`, { cause: error })
  }
}

function count(option: string, text: string): number {
  const number = text.replaceAll(',', '')
  if (!/^[1-9]\d{0,8}$/.test(number)) throw new Error(`${option} takes a whole number from 1`)
  return Number(number)
}

function check({ repositories, manifests, edges }: Size): void {
  if (repositories < 1000 || repositories % 100 !== 0)
    throw new Error('--repositories takes hundreds, from 1000')
  if (manifests % 5000 !== 0) throw new Error('--manifests has to be a multiple of 5000')
  if (manifests < repositories * 10)
    throw new Error('--manifests: ten for each repository at least')
  if (edges < manifests * 8) throw new Error('--edges: eight for each manifest at least')
}

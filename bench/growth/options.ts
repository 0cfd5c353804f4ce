import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const usage = `Usage: npm run bench:growth -- [options]

  --repositories LIST  numbers of repositories, instead of 10,1000,100000
  --connections LIST   numbers of connections, instead of 1,16,128,1024
  --seconds N          of each round, instead of 3
  --rounds N           of each figure, which is their median, instead of 3
  --quick              10 and 100 repositories, 1 and 16 connections, one round of a second: to see
                       that it runs, not to believe its figures
  --out DIR            write report, figures and plots there, instead of to the places in this
                       checkout when all is run in full
  --plot               only draw the plots again, from the figures that were written

A hundred thousand repositories are three million small files and folders, in TMPDIR. A disk that is
told of each block that is free again (mounted with "discard") takes long to remove them.
`

/** Where the report, the figures and the plots are. */
export interface Places {
  readonly report: string
  readonly figures: string
  readonly plots: string
}

export interface Options {
  /** Ascending. */
  readonly repositories: readonly number[]
  /** Ascending. */
  readonly connections: readonly number[]
  readonly seconds: number
  readonly rounds: number
  /** Undefined: nothing is written. */
  readonly out: Places | undefined
  readonly plotOnly: boolean
}

const full = { repositories: '10,1000,100000', connections: '1,16,128,1024', seconds: '3' }
const quick = { repositories: '10,100', connections: '1,16', seconds: '1', rounds: '1' }

/** @throws Error that says which argument is wrong, with the usage */
export function parseOptions(args: readonly string[]): Options {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        repositories: { type: 'string' },
        connections: { type: 'string' },
        seconds: { type: 'string' },
        rounds: { type: 'string' },
        quick: { type: 'boolean', default: false },
        out: { type: 'string' },
        plot: { type: 'boolean', default: false },
      },
    })
    const { quick: isQuick, out, plot, ...given } = values
    const settings = { rounds: '3', ...(isQuick ? quick : full), ...given }
    const isWhole = !isQuick && !given.repositories && !given.connections
    return {
      repositories: numbers('--repositories', settings.repositories, 1_000_000),
      connections: numbers('--connections', settings.connections, 10_000),
      seconds: count('--seconds', settings.seconds, 60),
      rounds: count('--rounds', settings.rounds, 20),
      out: placesOf(out, isWhole),
      plotOnly: plot,
    }
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\n${usage}`, { cause: error })
  }
}

function placesOf(out: string | undefined, isWhole: boolean): Places | undefined {
  if (out !== undefined) {
    const directory = path.resolve(out)
    return {
      report: path.join(directory, 'RESULTS-growth.md'),
      figures: path.join(directory, 'results.csv'),
      plots: directory,
    }
  }
  if (!isWhole) return undefined
  return {
    report: here('../RESULTS-growth.md'),
    figures: here('results.csv'),
    plots: here('../../docs/performance'),
  }
}

function here(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url))
}

function numbers(option: string, text: string, largest: number): number[] {
  const all = text.split(',').map((each) => count(option, each, largest))
  return [...new Set(all)].toSorted((a, b) => a - b)
}

function count(option: string, text: string, largest: number): number {
  const number = /^[1-9]\d{0,6}$/.test(text) ? Number(text) : Number.POSITIVE_INFINITY
  if (number > largest) throw new Error(`${option} takes whole numbers from 1 to ${largest}`)
  return number
}

import path from 'node:path'
import { parseArgs } from 'node:util'
import { plainSetup, type Setup } from '../peers/peer.ts'

const usage = `Usage: npm run bench:budget -- [options]

  --only a,b           only these paths; --list names all
  --list               names the paths, and ends
  --quick              a fifth of the requests
  --connections N      keep-alive connections that ask at the same time, instead of 1
  --auth               with accounts and a token in each request
  --workers N          processes that share the socket
  --database external  a Postgres of its own, that other processes may use as well
  --out FILE           write the results there, as Markdown
  --profile DIR        CPU profiles of each path too (allocations are then those of the profiler as well)
`

export interface Options {
  readonly only: readonly string[] | undefined
  readonly list: boolean
  /** What the numbers of requests are divided by. */
  readonly divisor: number
  readonly connections: number
  readonly setup: Setup
  readonly out: string | undefined
  /** Absolute. */
  readonly profileDirectory: string | undefined
}

/** @throws Error that says which argument is wrong, with the usage */
export function parseOptions(args: readonly string[]): Options {
  try {
    return read(args)
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\n${usage}`, { cause: error })
  }
}

function read(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      list: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      connections: { type: 'string', default: '1' },
      auth: { type: 'boolean', default: false },
      workers: { type: 'string', default: '1' },
      database: { type: 'string', default: 'embedded' },
      out: { type: 'string' },
      profile: { type: 'string' },
    },
  })
  const { database } = values
  if (database !== 'embedded' && database !== 'external') {
    throw new Error('--database takes embedded or external')
  }
  return {
    only: values.only?.split(','),
    list: values.list,
    divisor: values.quick ? 5 : 1,
    connections: count('--connections', values.connections),
    setup: {
      ...plainSetup,
      auth: values.auth ? 'token' : 'none',
      workers: count('--workers', values.workers),
      database,
    },
    out: values.out,
    profileDirectory: values.profile === undefined ? undefined : path.resolve(values.profile),
  }
}

function count(option: string, text: string): number {
  if (!/^[1-9]\d?$/.test(text)) throw new Error(`${option} takes a whole number from 1 to 99`)
  return Number(text)
}

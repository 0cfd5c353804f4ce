import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'

export const DEFAULT_RATE = 60

const usage = `Usage: npm run soak:steady -- [options]

  --minutes N      how long clients are at work (default 60); rests between come on top
  --rate N         requests in a second, all clients together (default ${DEFAULT_RATE})
  --workers N      processes of the server (default 1)
  --storage NAME   filesystem (default) or s3: the server that SLIPWAY_TEST_S3 names
  --seed N         of everything that is drawn; two runs still differ in their timing
  --out FILE       one line of JSON for each sample goes there
`

type StorageType = 'filesystem' | 's3'

export interface Options {
  readonly minutes: number
  readonly requestsPerSecond: number
  readonly workers: number
  readonly storage: StorageType
  readonly seed: number
  readonly out: string | undefined
}

/** @throws Error that says which argument is wrong, with the usage */
export function parseOptions(args: readonly string[]): Options {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        minutes: { type: 'string', default: '60' },
        rate: { type: 'string', default: String(DEFAULT_RATE) },
        workers: { type: 'string', default: '1' },
        storage: { type: 'string', default: 'filesystem' },
        seed: { type: 'string' },
        out: { type: 'string' },
      },
    })
    return {
      minutes: positive('--minutes', values.minutes),
      requestsPerSecond: positive('--rate', values.rate),
      workers: Math.ceil(positive('--workers', values.workers)),
      storage: storageOf(values.storage),
      seed: values.seed === undefined ? randomInt(1_000_000) : positive('--seed', values.seed),
      out: values.out,
    }
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\n${usage}`, { cause: error })
  }
}

function storageOf(name: string): StorageType {
  if (name === 'filesystem' || name === 's3') return name
  throw new Error(`no storage ${name}`)
}

function positive(flag: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`${flag} takes a number above 0`)
  return value
}

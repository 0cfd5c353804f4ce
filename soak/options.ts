import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'

const usage = `Usage: npm run soak -- [options]

  --minutes N        how long clients push, pull and delete (default 3); checks come on top
  --storage NAME     filesystem (default), s3, or both: half of the time each. S3 is the server
                     that SLIPWAY_TEST_S3 names
  --replicas N       servers on one database and one storage (default 2)
  --seed N           of everything that is drawn; two runs still differ in their timing
  --round SECONDS    from one check to the next (default 30)
  --grace SECONDS    of every round, instead of 0 and 6 in turn
  --calm             no server is killed
  --journal FILE     everything that clients did goes there
`

/** Nothing is held for anybody; and long enough for any push that is not held up. */
const GRACE_SECONDS = [0, 6]

export type StorageType = 'filesystem' | 's3'

export interface Options {
  readonly minutes: number
  readonly storages: readonly StorageType[]
  readonly replicas: number
  readonly seed: number
  readonly roundSeconds: number
  /** Of the rounds, in turn. */
  readonly graceSeconds: readonly number[]
  readonly calm: boolean
  readonly journal: string | undefined
}

/** @throws Error that says which argument is wrong, with the usage */
export function parseOptions(args: readonly string[]): Options {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        minutes: { type: 'string', default: '3' },
        storage: { type: 'string', default: 'filesystem' },
        replicas: { type: 'string', default: '2' },
        seed: { type: 'string' },
        round: { type: 'string', default: '30' },
        grace: { type: 'string' },
        calm: { type: 'boolean', default: false },
        journal: { type: 'string' },
      },
    })
    return {
      minutes: positive('--minutes', values.minutes),
      storages: storagesOf(values.storage),
      replicas: Math.floor(positive('--replicas', values.replicas)),
      seed: values.seed === undefined ? randomInt(1_000_000) : positive('--seed', values.seed),
      roundSeconds: positive('--round', values.round),
      graceSeconds: values.grace === undefined ? GRACE_SECONDS : [Number(values.grace)],
      calm: values.calm,
      journal: values.journal,
    }
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\n${usage}`, { cause: error })
  }
}

function storagesOf(name: string): StorageType[] {
  if (name === 'both') return ['filesystem', 's3']
  if (name === 'filesystem' || name === 's3') return [name]
  throw new Error(`no storage ${name}`)
}

function positive(flag: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`${flag} takes a number above 0`)
  return value
}

import { parseArgs } from 'node:util'

const usage = `Usage: node --import tsx bench/replicas/main.ts [options]

  --quick      small sizes and one round: to see that it runs, not to believe its figures
  --rounds N   rounds of every measurement, instead of 3
  --s3 NAME    the S3 server of scripts/s3 to run with: rgw (default), versitygw or swift
`

export interface Options {
  readonly s3: string
  readonly rounds: number
  readonly scale: Scale
}

/** How much one measurement does. */
export interface Scale {
  /** Pushed at once, and pulled at once. */
  readonly layers: number
  readonly layerBytes: number
  readonly images: number
  /** Of one run of wrk. */
  readonly rateSeconds: number
}

const full: Scale = { layers: 8, layerBytes: 64 * 2 ** 20, images: 300, rateSeconds: 5 }

const quick: Scale = { layers: 4, layerBytes: 16 * 2 ** 20, images: 40, rateSeconds: 1 }

/** @throws Error that says which argument is wrong, with the usage */
export function parseOptions(args: readonly string[]): Options {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        quick: { type: 'boolean', default: false },
        rounds: { type: 'string' },
        s3: { type: 'string', default: 'rgw' },
      },
    })
    const rounds = values.rounds ?? (values.quick ? '1' : '3')
    if (!/^[1-9]\d?$/.test(rounds)) throw new Error('--rounds takes a whole number from 1')
    if (!['rgw', 'versitygw', 'swift'].includes(values.s3))
      throw new Error(`no S3 server ${values.s3}`)
    return { s3: values.s3, rounds: Number(rounds), scale: values.quick ? quick : full }
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\n${usage}`, { cause: error })
  }
}

import { readFile } from 'node:fs/promises'
import type { Slipway } from './slipway.ts'

export interface LoggedRequest {
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly status: number
}

/** The requests that a server has answered, by its own log. */
export async function requestsIn({ logFile }: Slipway): Promise<readonly LoggedRequest[]> {
  // The first line is for people.
  const lines = (await readFile(logFile, 'utf8'))
    .split('\n')
    .filter((line) => /^\{.*\}$/.test(line))
  const entries = lines.map((line) => JSON.parse(line) as LoggedRequest & { msg: string })
  return entries.filter(({ msg }) => msg === 'request')
}

import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { vi } from 'vitest'
import type { Slipway } from './slipway.ts'

export interface LoggedRequest {
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly status: number
  /** Of the connection, headers included. */
  readonly bytesOut: number
}

/**
 * The requests that a server has answered until now, by its own log. The log is written in
 * batches: one more request is made, and when that has come all before it have.
 */
export async function requestsIn({ url, logFile }: Slipway): Promise<readonly LoggedRequest[]> {
  const last = `/v2/?last=${randomUUID()}`
  await (await fetch(new URL(last, url))).arrayBuffer()
  return vi.waitFor(
    async () => {
      const requests = await requestsWritten(logFile)
      const end = requests.findIndex((request) => request.url === last)
      if (end === -1) throw new Error(`${logFile} lacks a request that was answered`)
      return requests.slice(0, end).filter((request) => !request.url.startsWith('/v2/?last='))
    },
    { timeout: 10_000, interval: 100 },
  )
}

async function requestsWritten(logFile: string): Promise<LoggedRequest[]> {
  // The first line is for people, and the end of the last may be missing.
  const lines = (await readFile(logFile, 'utf8'))
    .split('\n')
    .filter((line) => /^\{.*\}$/.test(line))
  const entries = lines.map((line) => JSON.parse(line) as LoggedRequest & { msg: string })
  return entries.filter(({ msg }) => msg === 'request')
}

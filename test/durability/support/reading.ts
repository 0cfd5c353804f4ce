import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { expect } from 'vitest'
import type { RemoteLayer } from './upstream.ts'

/** What a client got of a body that it did not keep. */
export interface Read {
  readonly bytes: number
  /** Of these bytes. */
  readonly digest: string
  /** Whether it ended as it was announced. */
  readonly isWhole: boolean
}

/** An answer whose body is on its way to a client. */
export interface Reading {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Bytes so far. */
  received(this: void): number
  /** Never rejects. */
  readonly ended: Promise<Read>
  leave(this: void): void
}

/**
 * One GET on a connection of its own. Resolves with the headers; the body is read at once.
 *
 * @throws what the socket met when no answer began
 */
export async function beginReading(host: string, path: string): Promise<Reading> {
  const asked = request(`http://${host}${path}`, { agent: false }).end()
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  asked.on('error', () => {})
  const hash = createHash('sha256')
  let bytes = 0
  answer.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    hash.update(chunk)
  })
  const ended = new Promise<Read>((resolve) => {
    answer.on('error', () => {})
    answer.once('close', () => {
      resolve({ bytes, digest: `sha256:${hash.digest('hex')}`, isWhole: answer.complete })
    })
  })
  return {
    status: answer.statusCode ?? 0,
    headers: answer.headers,
    received: () => bytes,
    ended,
    leave: () => void asked.destroy(),
  }
}

/** Pulls the layer whole. */
export async function expectPull(host: string, { path, digest }: RemoteLayer): Promise<void> {
  const { status, ended } = await beginReading(host, path)
  expect({ status, ...(await ended) }).toMatchObject({ status: 200, digest, isWhole: true })
}

/** What each of many clients got, also of those to whom no answer began. */
export async function outcomesOf(begun: readonly Promise<Reading>[]): Promise<(Read | 'none')[]> {
  const one = async (reading: Promise<Reading>) => {
    const { status, ended } = await reading
    const read = await ended
    return status === 200 ? read : ('none' as const)
  }
  return Promise.all(begun.map((reading) => one(reading).catch(() => 'none' as const)))
}

/** Whoever got all that was announced got the layer. @returns how many did */
export function expectNothingWrong(
  outcomes: readonly (Read | 'none')[],
  { digest }: Pick<RemoteLayer, 'digest'>,
): number {
  const whole = outcomes.filter((read) => read !== 'none').filter(({ isWhole }) => isWhole)
  expect(whole.map((read) => read.digest)).toEqual(whole.map(() => digest))
  return whole.length
}

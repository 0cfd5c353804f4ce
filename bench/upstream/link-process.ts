/** Entry of the link's process: the port of the upstream in, its own out; then orders and answers. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Link, type Traffic } from './link.ts'

export interface LinkOrder {
  /** Null for as much as there is; left out, it stays. */
  readonly bytesPerSecond?: number | null
  /** Counts from zero again, after the answer. */
  readonly reset?: boolean
}

export interface LinkAnswer {
  readonly traffic: Traffic
  readonly quietMs: number
}

const [upstreamPort] = (await once(process, 'message')) as [number]
const link = new Link(upstreamPort)
link.server.listen(0, '127.0.0.1')
await once(link.server, 'listening')

process.on('message', ({ bytesPerSecond, reset }: LinkOrder) => {
  if (bytesPerSecond !== undefined) link.bytesPerSecond = bytesPerSecond ?? Number.POSITIVE_INFINITY
  const answer: LinkAnswer = { traffic: link.traffic, quietMs: link.quietMs }
  if (reset) link.reset()
  process.send?.(answer)
})
// Nobody is left to ask for the figures.
process.once('disconnect', () => process.exit())
process.send?.((link.server.address() as AddressInfo).port)

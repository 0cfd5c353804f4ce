/** wrk waits for the body that a HEAD's Content-Length speaks of, so HEAD has its own client. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { requestHead } from './connection.ts'
import { acceptManifests } from './push.ts'
import type { Rate, RateLoad } from './rate.ts'
import { authorizationForPaths } from './server.ts'

export interface HeadsJob extends Omit<RateLoad, 'method'> {
  readonly kind: 'heads'
}

interface Run {
  readonly requests: readonly Buffer[]
  sent: number
  readonly latenciesMs: number[]
  /** Of `performance.now()`. */
  deadline: number
}

/** Keeps one HEAD in flight on each connection. @throws Error when any answer is not a 200 */
export async function prepareHeads(job: HeadsJob): Promise<() => Promise<Rate>> {
  const authorization = await authorizationForPaths(job, job.paths)
  const headers = {
    Accept: acceptManifests,
    ...(authorization === undefined ? {} : { Authorization: authorization }),
  }
  const run: Run = {
    requests: job.paths.map((target) =>
      Buffer.from(requestHead({ method: 'HEAD', target, headers })),
    ),
    sent: 0,
    latenciesMs: [],
    deadline: 0,
  }
  const sockets = await Promise.all(Array.from({ length: job.connections }, () => open(job.port)))
  return async () => {
    const started = performance.now()
    run.deadline = started + job.seconds * 1000
    await Promise.all(sockets.map((socket) => keepAsking(socket, run)))
    return rateOf(run.latenciesMs, (performance.now() - started) / 1000)
  }
}

async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true)
  await once(socket, 'connect')
  return socket
}

function keepAsking(socket: Socket, run: Run): Promise<void> {
  return new Promise((resolve, reject) => {
    let askedAt = 0
    let received = ''
    const ask = () => {
      askedAt = performance.now()
      socket.write(run.requests[run.sent++ % run.requests.length] ?? '')
    }
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('the server closed the connection')))
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1')
      if (!received.endsWith('\r\n\r\n')) return
      if (!received.startsWith('HTTP/1.1 200 ')) return reject(new Error(received))
      received = ''
      const now = performance.now()
      run.latenciesMs.push(now - askedAt)
      if (now < run.deadline) return ask()
      resolve()
    })
    ask()
  })
}

function rateOf(latenciesMs: readonly number[], seconds: number): Rate {
  const sorted = latenciesMs.toSorted((a, b) => a - b)
  const quantile = (part: number) => sorted[Math.ceil(sorted.length * part) - 1] ?? Number.NaN
  return {
    requestsPerSecond: sorted.length / seconds,
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
  }
}

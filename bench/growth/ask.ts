import { setMaxListeners } from 'node:events'
import { Agent } from 'undici'
import { acceptManifests } from '../client/push.ts'
import type { Rate } from '../client/rate.ts'
import { median } from '../measure/statistics.ts'

interface Asking {
  readonly port: number
  /** Asked for in turn. */
  readonly paths: readonly string[]
  readonly connections: number
  /** As many as there are connections: all at once. */
  readonly requests: number
  /** What is not answered by then is given up. */
  readonly limitSeconds: number
}

interface Answers {
  readonly answered: number
  /** Until the last answer, or until all others were given up. */
  readonly seconds: number
  /** Undefined when nothing was answered. */
  readonly rate: Rate | undefined
}

/** A number of GETs, however long they take. @throws Error when any answer is not a 200 */
export async function ask(asking: Asking): Promise<Answers> {
  const { port, paths, connections, requests, limitSeconds } = asking
  const agent = new Agent({ connections, headersTimeout: 0, bodyTimeout: 0 })
  const signal = AbortSignal.timeout(limitSeconds * 1000)
  setMaxListeners(requests + 1, signal)
  const started = performance.now()
  const latenciesMs: number[] = []
  const get = async (path: string) => {
    const headers = { accept: acceptManifests }
    const origin = `http://127.0.0.1:${port}`
    const { statusCode, body } = await agent.request({
      origin,
      path,
      method: 'GET',
      headers,
      signal,
    })
    const text = await body.text()
    if (statusCode !== 200) throw new Error(`GET ${path}: ${statusCode} ${text.slice(0, 200)}`)
    latenciesMs.push(performance.now() - started)
  }
  const unlessGivenUp = (error: unknown) => {
    if (!signal.aborted) throw error
  }
  try {
    await Promise.all(
      Array.from({ length: requests }, (_, n) =>
        get(paths[n % paths.length] ?? '').catch(unlessGivenUp),
      ),
    )
  } finally {
    await agent.destroy()
  }
  const seconds = (performance.now() - started) / 1000
  return { answered: latenciesMs.length, seconds, rate: rateOf(latenciesMs, seconds) }
}

function rateOf(latenciesMs: readonly number[], seconds: number): Rate | undefined {
  const sorted = latenciesMs.toSorted((a, b) => a - b)
  const p99Ms = sorted[Math.ceil(sorted.length * 0.99) - 1]
  if (p99Ms === undefined) return undefined
  return { requestsPerSecond: sorted.length / seconds, p50Ms: median(sorted), p99Ms }
}

import { UpstreamFailure } from '../../upstream/failure.ts'
import type { Upstream } from './upstreams.ts'

/**
 * The result of `work`, which goes on when it takes longer than anybody is to wait for it.
 *
 * @throws UpstreamFailure after `ms`, and what `work` throws
 */
export async function soon<T>(work: Promise<T>, ms: number, { rule }: Upstream): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    const message = `${rule.name}: no answer for ${Math.round(ms / 1000)} s`
    timer = setTimeout(() => reject(new UpstreamFailure('unavailable', message)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * What the upstream answers, which is not waited for longer than `ms`, and broken off then.
 *
 * @throws UpstreamFailure
 */
export async function within<T>(
  upstream: Upstream,
  ms: number,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const leaving = new AbortController()
  try {
    return await soon(ask(leaving.signal), ms, upstream)
  } finally {
    leaving.abort()
  }
}

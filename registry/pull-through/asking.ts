import type { ErrorCode } from '../../oci/errors.ts'
import { UpstreamFailure } from '../../upstream/failure.ts'
import { asUpstreamError } from './failure.ts'
import type { UpstreamRepository } from './upstreams.ts'

export interface Wanted {
  /** Of its repository: a reference as it reads behind a name, or what else tells it from others. */
  readonly what: string
  /** What a client is told when the upstream says there is no such thing. */
  readonly unknown: ErrorCode
  /** Whether something can be served instead. */
  readonly isKept: boolean
}

/**
 * Turns the upstream's failures into what a client is told, and remembers them: for a short time
 * the same is not asked again.
 *
 * @throws UpstreamError
 */
export async function asking<T>(
  { upstream, repository }: UpstreamRepository,
  { what, unknown, isKept }: Wanted,
  work: (key: string) => Promise<T>,
): Promise<T> {
  const key = repository + what
  try {
    upstream.refuse(key)
    return await work(key)
  } catch (error) {
    if (!(error instanceof UpstreamFailure)) throw error
    upstream.remember(key, error, { isKept })
    throw asUpstreamError(error, unknown)
  }
}

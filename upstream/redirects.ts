import { UpstreamFailure } from './failure.ts'
import type { Answer, Outgoing, Transport } from './transport.ts'
import { isDowngrade, parseForeignUrl } from './url.ts'

const MAX_REDIRECTS = 5
const REDIRECTS = new Set([301, 302, 303, 307, 308])

export interface FollowedRequest extends Outgoing {
  readonly method: 'GET' | 'HEAD'
  /** Shown to the origin of `url` alone, and not any more once it has pointed elsewhere. */
  readonly authorization: string | undefined
}

export interface FollowedAnswer extends Answer {
  /** Whether no other origin had a hand in it. */
  readonly isOwn: boolean
}

/** Sends a request and follows where it is sent on to. @throws UpstreamFailure */
export async function follow(
  transport: Transport,
  { authorization, ...request }: FollowedRequest,
): Promise<FollowedAnswer> {
  let url = request.url
  let isOwn = true
  for (let count = 0; count <= MAX_REDIRECTS; count += 1) {
    const shown = isOwn && authorization !== undefined ? { authorization } : {}
    const headers = { ...request.headers, ...shown }
    const answer = await transport.send({ ...request, url, headers })
    if (!REDIRECTS.has(answer.status)) return Object.assign(answer, { isOwn })
    answer.drop()
    url = readLocation(answer)
    isOwn &&= url.origin === request.url.origin
  }
  const who = transport.describe(request.url)
  throw new UpstreamFailure('invalid', `${who}: redirects more than ${MAX_REDIRECTS} times`)
}

/** @throws UpstreamFailure when it leads nowhere, or from https to http */
function readLocation({ who, url, headers }: Answer): URL {
  const location = typeof headers.location === 'string' ? headers.location : ''
  const target = location === '' ? undefined : parseForeignUrl(location, url)
  if (target === undefined) {
    throw new UpstreamFailure('invalid', `${who}: redirects to what is no URL of a server`)
  }
  if (isDowngrade(url, target)) {
    throw new UpstreamFailure('invalid', `${who}: redirects from https to http`)
  }
  return target
}

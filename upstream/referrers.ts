import type { Digest } from '../oci/digest.ts'
import { bareMediaType, OCI_INDEX } from '../oci/media-types.ts'
import { UpstreamFailure } from './failure.ts'
import { nextPage, parseReferrers } from './listings.ts'
import type { RegistryApi } from './registry-api.ts'
import { type Answer, readWhole } from './transport.ts'

const MAX_BYTES = 16_777_216
const MAX_PAGES = 50

export interface ReferrersQuestion {
  readonly repository: string
  readonly subject: Digest
  readonly signal: AbortSignal
  readonly onBytes: (bytes: number) => void
}

/**
 * The descriptors of all pages, not looked at.
 *
 * @returns undefined when the upstream has no such API
 * @throws UpstreamFailure rather than give a part of them
 */
export async function askReferrers(
  api: RegistryApi,
  { repository, subject, signal, onBytes }: ReferrersQuestion,
): Promise<readonly unknown[] | undefined> {
  const question = { repository, method: 'GET', headers: { accept: OCI_INDEX }, signal } as const
  const path = `referrers/${subject}`
  let answer: Answer = await api.ask({ ...question, path, statuses: [200, 400, 404, 405] })
  // Some registries answer a path they do not know with a page for people.
  if (answer.status !== 200 || bareMediaType(answer.headers['content-type']) !== OCI_INDEX) {
    answer.drop()
    return undefined
  }
  const found: unknown[] = []
  let bytesLeft = MAX_BYTES
  for (let page = 1; ; page += 1) {
    const body = await readWhole(answer, bytesLeft, onBytes)
    bytesLeft -= body.length
    for (const referrer of parseReferrers(answer.who, body)) found.push(referrer)
    const next = nextPage(answer)
    if (next === undefined) return found
    if (next.origin !== api.origin || page === MAX_PAGES) {
      const what =
        page === MAX_PAGES ? `has more than ${MAX_PAGES} pages` : 'goes on at another host'
      throw new UpstreamFailure('invalid', `${answer.who}: its list of referrers ${what}`)
    }
    answer = await api.ask({ ...question, path: next, statuses: [200] })
  }
}

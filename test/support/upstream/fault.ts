import { firstBytes, flippedAt, pausedAfter } from '../proxy/body.ts'
import type { MadeAnswer } from '../proxy/exchange.ts'
import { type Conduct, changing } from '../proxy/fault.ts'
import type { HeaderChanges } from '../proxy/headers.ts'
import type { UpstreamRequest } from './request.ts'

/** A refusal as the spec words it, "Error Codes". */
export interface Refusal {
  readonly status: number
  /** One that goes with the status, when left out. */
  readonly code?: string
  readonly message?: string
  /** Seconds, or a date. */
  readonly retryAfter?: number | string
  readonly headers?: Readonly<Record<string, string>>
  /** In place of the document of the spec. */
  readonly body?: string
}

const CODES: Readonly<Record<number, string>> = {
  401: 'UNAUTHORIZED',
  403: 'DENIED',
  404: 'NAME_UNKNOWN',
  429: 'TOOMANYREQUESTS',
  503: 'UNAVAILABLE',
}

export function answerOf({ status, retryAfter, headers, body, ...said }: Refusal): MadeAnswer {
  const { code = CODES[status] ?? 'UNKNOWN', message = code.toLowerCase() } = said
  return {
    status,
    headers: {
      'Content-Type': body === undefined ? 'application/json' : 'text/plain',
      ...(retryAfter !== undefined && { 'Retry-After': retryAfter }),
      ...headers,
    },
    body: body ?? JSON.stringify({ errors: [{ code, message }] }),
  }
}

export function changeHeaders(headers: HeaderChanges): Conduct {
  return changing(() => ({ headers }))
}

export function stall(afterBytes: number): Conduct {
  return (exchange, course) =>
    changing(() => ({ body: pausedAfter(afterBytes, course.cleared) }))(exchange, course)
}

// A fault that cannot happen should not look like one that did no harm: it ends the connection.

/** @param isAnnounced whether the answer says that it is so short */
export function truncate(missingBytes: number, isAnnounced: boolean): Conduct {
  return changing((announced = 0) => {
    const length = announced - missingBytes
    if (length < 0) throw new Error(`cannot leave out ${missingBytes} bytes of an answer`)
    const body = firstBytes(length)
    return isAnnounced
      ? { body, headers: { 'Content-Length': String(length) } }
      : { body, end: 'close' }
  })
}

export function corrupt(at: number): Conduct {
  return changing((length = Number.POSITIVE_INFINITY) => {
    if (length <= at) throw new Error(`a body of ${length} bytes has none at ${at}`)
    return { body: flippedAt(at) }
  })
}

export const ignoreRange: Conduct = (exchange, { next }) => {
  exchange.without = ['range', 'if-range']
  return next()
}

/** All that is given has to be so; `path` is a part of it, such as a digest. */
export type Description = Partial<Pick<UpstreamRequest, 'kind' | 'method' | 'path'>>

export function isDescribed({ kind, method, path }: Description, request: UpstreamRequest) {
  return (
    (kind === undefined || request.kind === kind) &&
    (method === undefined || request.method === method) &&
    (path === undefined || request.path.includes(path))
  )
}

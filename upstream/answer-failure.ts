import { STATUS_CODES } from 'node:http'
import { type FailureReason, UpstreamFailure } from './failure.ts'
import { redact } from './redact.ts'
import { parseRetryAfter } from './retry-after.ts'
import { type Answer, readWhole } from './transport.ts'

const MAX_ERROR_BYTES = 65_536
const MAX_SAYING_LENGTH = 200

export interface AnswerContext {
  /** What the request showed, and what no message may repeat. */
  readonly secrets: readonly string[]
  readonly now: number
}

/** An answer that is none of those hoped for, with the reason the upstream gives. Reads its body. */
export async function asAnswerFailure(
  answer: Answer,
  { secrets, now }: AnswerContext,
): Promise<UpstreamFailure> {
  const { who, status, headers } = answer
  const saying = await readSaying(answer, (said) => redact(said, secrets))
  const message = `${who}: ${status} ${printable(saying) || STATUS_CODES[status] || 'no reason given'}`
  const retryAfterSeconds = parseRetryAfter(headers['retry-after'], now)
  return new UpstreamFailure(reasonOf(status), message, { retryAfterSeconds })
}

function reasonOf(status: number): FailureReason {
  if (status === 404 || status === 410) return 'unknown'
  if (status === 401 || status === 403) return 'denied'
  if (status === 429) return 'rate limited'
  if (status === 408 || status === 425 || status >= 500) return 'unavailable'
  return 'invalid'
}

/** '' when the body says nothing that can be read, or cannot be read at all: the status remains. */
async function readSaying(answer: Answer, clean: (text: string) => string): Promise<string> {
  try {
    const bytes = await readWhole(answer, MAX_ERROR_BYTES)
    const body: unknown = JSON.parse(bytes.toString('utf8'))
    return sayingOf(body, clean)
  } catch {
    return ''
  }
}

/** Distribution spec, "Error Codes"; and what token services say: RFC 6749, and Docker's own. */
function sayingOf(body: unknown, clean: (text: string) => string): string {
  const errors: unknown = member(body, 'errors')
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined
  const code = text(first, 'code') || text(body, 'error')
  const message =
    text(first, 'message') ||
    text(body, 'error_description') ||
    text(body, 'details') ||
    text(body, 'message')
  return [clean(code).toLowerCase(), clean(message)].filter((part) => part !== '').join(': ')
}

function text(body: unknown, key: string): string {
  const value = member(body, key)
  return typeof value === 'string' ? value : ''
}

function member(body: unknown, key: string): unknown {
  if (typeof body !== 'object' || body === null) return undefined
  return Object.getOwnPropertyDescriptor(body, key)?.value
}

/** On one line, in ASCII, and short: it goes into headers and logs. */
function printable(said: string): string {
  return said
    .replaceAll(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, MAX_SAYING_LENGTH)
}

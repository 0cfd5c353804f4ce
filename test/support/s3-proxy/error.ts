import type { MadeAnswer } from '../proxy/exchange.ts'

/** A refusal as S3 words it. */
export interface S3Error {
  readonly status: number
  /** `SlowDown`, `InternalError`, `InvalidAccessKeyId`. */
  readonly code: string
  readonly message?: string
  /** Seconds. */
  readonly retryAfter?: number
}

export function answerOf({ status, code, message = code, retryAfter }: S3Error): MadeAnswer {
  return {
    status,
    headers: {
      'Content-Type': 'application/xml',
      ...(retryAfter !== undefined && { 'Retry-After': retryAfter }),
    },
    body:
      '<?xml version="1.0" encoding="UTF-8"?>\n' +
      `<Error><Code>${code}</Code><Message>${escaped(message)}</Message></Error>`,
  }
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

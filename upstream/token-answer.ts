import { UpstreamFailure } from './failure.ts'

export interface Token {
  readonly token: string
  /** How long it is good for. */
  readonly seconds: number
}

/** Distribution, "Token Response Fields". */
const DEFAULT_SECONDS = 60
const LONGEST_SECONDS = 86_400
/** What fits in a header: RFC 6750, section 2.1, and a bit more liberal. */
const TOKEN = /^[\x21-\x7e]{1,16384}$/

/** @throws UpstreamFailure 'invalid' */
export function parseToken(who: string, body: Buffer): Token {
  const fields = parseObject(who, body)
  const token = [fields.token, fields.access_token].find(
    (each) => each !== undefined && each !== '',
  )
  if (typeof token !== 'string' || !TOKEN.test(token)) {
    throw new UpstreamFailure('invalid', `${who}: gave an answer without a token`)
  }
  const { expires_in: expires } = fields
  const isLifetime = typeof expires === 'number' && expires > 0
  return { token, seconds: isLifetime ? Math.min(expires, LONGEST_SECONDS) : DEFAULT_SECONDS }
}

function parseObject(
  who: string,
  body: Buffer,
): { token?: unknown; access_token?: unknown; expires_in?: unknown } {
  try {
    const fields: unknown = JSON.parse(body.toString('utf8'))
    return typeof fields === 'object' && fields !== null ? fields : {}
  } catch {
    // The parser's own message would repeat the text, and with it a token.
    throw new UpstreamFailure('invalid', `${who}: gave an answer that is not JSON`)
  }
}

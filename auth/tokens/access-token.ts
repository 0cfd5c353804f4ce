import { randomUUID } from 'node:crypto'
import { errors, jwtVerify, SignJWT } from 'jose'
import type { AccountId } from '../../storage/metadata/accounts.ts'
import type { Scope } from './scope.ts'
import { ALGORITHM, type SigningKeys } from './signing-keys.ts'
import { TokenInvalid } from './token-invalid.ts'

/** Whom a token speaks for, so that each request can ask whether that one is still welcome. */
export interface Holder {
  /** Undefined: anonymous. */
  readonly subject?: string | undefined
  readonly accountId?: AccountId | undefined
  /** Of the account when the token was issued. */
  readonly generation?: number | undefined
  /** The personal token, identity token or keyless credential it was obtained with. */
  readonly credentialId?: string | undefined
  /** Of the entry in the htpasswd file. */
  readonly revision?: string | undefined
}

export interface AccessToken {
  readonly holder: Holder
  readonly scopes: readonly Scope[]
  /** Seconds since the epoch. */
  readonly expiresAt: number
}

export interface TokenTerms {
  /** The only audience of our tokens, and their issuer. */
  readonly service: string
  readonly seconds: number
  readonly now: () => Date
}

/** Tokens travel in a header, for which many proxies leave 8 KiB. */
const MOST_SCOPE_BYTES = 4096
const MOST_TOKEN_BYTES = 8192
const CLOCK_SKEW_SECONDS = 30

/** @returns the token, with as many of the scopes as there is room for */
export async function signAccessToken(
  { signing }: SigningKeys,
  { holder, scopes }: Omit<AccessToken, 'expiresAt'>,
  { service, seconds, now }: TokenTerms,
): Promise<{ readonly token: string; readonly scopes: readonly Scope[] }> {
  const fitting = fit(scopes)
  const issuedAt = Math.floor(now().getTime() / 1000)
  const jwt = new SignJWT({
    access: fitting,
    ...(holder.accountId === undefined ? {} : { acc: holder.accountId, gen: holder.generation }),
    ...(holder.credentialId === undefined ? {} : { cred: holder.credentialId }),
    ...(holder.revision === undefined ? {} : { rev: holder.revision }),
  })
    .setProtectedHeader({ alg: ALGORITHM, kid: signing.id, typ: 'JWT' })
    .setIssuer(service)
    .setAudience(service)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + seconds)
    .setJti(randomUUID())
  if (holder.subject !== undefined) jwt.setSubject(holder.subject)
  return { token: await jwt.sign(signing.key), scopes: fitting }
}

function fit(scopes: readonly Scope[]): Scope[] {
  let bytes = 0
  return scopes.filter((scope) => {
    bytes += Buffer.byteLength(JSON.stringify(scope))
    return bytes <= MOST_SCOPE_BYTES
  })
}

/** @throws TokenInvalid, which says why for the log */
export async function verifyAccessToken(
  { verifying }: SigningKeys,
  token: string,
  { service, now }: TokenTerms,
): Promise<AccessToken> {
  if (token.length > MOST_TOKEN_BYTES) throw new TokenInvalid('too long')
  try {
    const { payload } = await jwtVerify<OwnClaims>(
      token,
      ({ kid }) => {
        const key = kid === undefined ? undefined : verifying.get(kid)
        if (key === undefined) throw new TokenInvalid('signed with a key that is not ours')
        return key
      },
      {
        algorithms: [ALGORITHM],
        issuer: service,
        audience: service,
        clockTolerance: CLOCK_SKEW_SECONDS,
        currentDate: now(),
        requiredClaims: ['exp', 'access'],
      },
    )
    // What we signed has the form we gave it.
    const { sub, acc, gen, cred, rev, access, exp } = payload
    const holder = {
      subject: sub,
      accountId: acc,
      generation: gen,
      credentialId: cred,
      revision: rev,
    }
    return { holder, scopes: access, expiresAt: exp }
  } catch (error) {
    if (error instanceof errors.JOSEError) throw new TokenInvalid(error.code, { cause: error })
    throw error
  }
}

/** Whether a token that was good once has expired meanwhile. */
export function isExpired({ expiresAt }: { readonly expiresAt: number }, now: Date): boolean {
  return now.getTime() / 1000 >= expiresAt + CLOCK_SKEW_SECONDS
}

interface OwnClaims {
  readonly sub?: string
  readonly acc?: AccountId
  readonly gen?: number
  readonly cred?: string
  readonly rev?: string
  readonly access: readonly Scope[]
  readonly exp: number
}

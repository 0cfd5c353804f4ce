import type { AccessControl } from '../../auth/access-control.ts'
import { isOpen, parseBasic } from '../../auth/authenticate.ts'
import { Unauthorized } from '../../auth/tokens/challenge.ts'
import { formatScope, parseScopes } from '../../auth/tokens/scope.ts'
import {
  type GrantedToken,
  grantByAssertion,
  grantByPassword,
  grantByRefreshToken,
  grantToAnonymous,
  type TokenRequest,
} from '../../auth/tokens/token-grants.ts'
import { RegistryError } from '../../oci/errors.ts'
import { answerJson } from '../http/answer.ts'
import { readBody } from '../http/body.ts'
import { listOf } from '../http/query.ts'
import type { RequestContext } from '../state.ts'

const MAX_FORM_BYTES = 64 * 1024

/** Docker's token protocol, with GET: name and password in the header, if any. */
export async function getToken(control: AccessControl, ctx: RequestContext): Promise<void> {
  await requireTokenService(control)
  const request: TokenRequest = {
    scopes: parseScopes(listOf(ctx, 'scope')),
    offline: listOf(ctx, 'offline_token').includes('true'),
    address: ctx.state.address,
  }
  const header = ctx.get('Authorization')
  const basic = /^basic +(\S+) *$/i.exec(header)?.[1]
  const credentials = basic === undefined ? undefined : parseBasic(basic)
  if (header !== '' && credentials === undefined) {
    throw new Unauthorized({ scopes: [] }, 'name and password are expected, as Basic')
  }

  const granted =
    credentials === undefined
      ? await grantToAnonymous(control, request)
      : await grantByPassword(control, credentials, request)

  answerToken(ctx, granted)
}

/** The same as OAuth 2 has it, with POST: everything in the form. */
export async function postToken(control: AccessControl, ctx: RequestContext): Promise<void> {
  await requireTokenService(control)
  const form = await readForm(ctx)
  const request: TokenRequest = {
    scopes: parseScopes(form.getAll('scope')),
    offline: form.get('access_type') === 'offline',
    address: ctx.state.address,
  }

  const granted = await grant(control, form, request)

  answerToken(ctx, granted, form.get('grant_type') === EXCHANGE ? ISSUED : {})
}

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ISSUED = { issued_token_type: 'urn:ietf:params:oauth:token-type:access_token' }

const ID_TOKEN_TYPES = [
  'urn:ietf:params:oauth:token-type:id_token',
  'urn:ietf:params:oauth:token-type:jwt',
]

async function grant(
  control: AccessControl,
  form: URLSearchParams,
  request: TokenRequest,
): Promise<GrantedToken> {
  switch (form.get('grant_type') ?? '') {
    case 'password': {
      const credentials = { name: required(form, 'username'), password: required(form, 'password') }
      return grantByPassword(control, credentials, request)
    }
    case 'refresh_token':
      return grantByRefreshToken(control, required(form, 'refresh_token'), request)
    case EXCHANGE:
      if (!ID_TOKEN_TYPES.includes(required(form, 'subject_token_type'))) {
        throw invalid('invalid_request: subject_token_type has to be that of an ID token')
      }
      return grantByAssertion(control, required(form, 'subject_token'), request)
    default:
      throw invalid('unsupported_grant_type')
  }
}

function required(form: URLSearchParams, name: string): string {
  const value = form.get(name)
  if (value === null || value === '') throw invalid(`invalid_request: ${name} is missing`)
  return value
}

function invalid(detail: string): RegistryError {
  return new RegistryError('UNSUPPORTED', detail, { status: 400 })
}

async function readForm(ctx: RequestContext): Promise<URLSearchParams> {
  const body = await readBody(ctx.req, MAX_FORM_BYTES)
  if (ctx.is('application/x-www-form-urlencoded') === false) {
    throw invalid('invalid_request: a form is expected')
  }
  return new URLSearchParams(body.toString('utf8'))
}

/** @throws RegistryError with status 404 where tokens are not needed, or are had elsewhere */
async function requireTokenService(control: AccessControl): Promise<void> {
  await control.records.refresh()
  if (control.mode !== 'external' && !(await isOpen(control))) return
  throw new RegistryError('UNSUPPORTED', 'no tokens are issued here', { status: 404 })
}

function answerToken(ctx: RequestContext, granted: GrantedToken, more: object = {}): void {
  ctx.set('Cache-Control', 'no-store')
  // No issued_at: clients would take the expiry by their own clock, which may be wrong.
  answerJson(ctx, {
    token: granted.token,
    access_token: granted.token,
    token_type: 'Bearer',
    ...more,
    expires_in: granted.expiresIn,
    scope: granted.scopes.map(formatScope).join(' '),
    ...(granted.refreshToken === undefined ? {} : { refresh_token: granted.refreshToken }),
  })
}

/** The public keys of our tokens, as a JSON Web Key Set. RFC 7517. */
export async function publishKeys({ records }: AccessControl, ctx: RequestContext): Promise<void> {
  await records.refresh()
  const keys = await records.keys()
  answerJson(ctx, keys?.published ?? { keys: [] }, { contentType: 'application/jwk-set+json' })
}

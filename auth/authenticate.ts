import { RegistryError } from '../oci/errors.ts'
import { isRepositoryName } from '../oci/reference.ts'
import { Access } from './access.ts'
import type { AccessControl } from './access-control.ts'
import { type Found, principalOfHolder } from './identity.ts'
import { type Credentials, logIn } from './login.ts'
import { anonymous, anyone, type Principal, stranger } from './principal.ts'
import type { Coverage } from './rules/grant.ts'
import type { Policy } from './rules/policy.ts'
import { type AccessToken, isExpired, verifyAccessToken } from './tokens/access-token.ts'
import { Unauthorized } from './tokens/challenge.ts'
import { kindOfSecret } from './tokens/secrets.ts'
import { KeysUnavailable, TokenInvalid } from './tokens/token-invalid.ts'

export interface Caller {
  /** The header of that name. */
  readonly authorization: string | undefined
  readonly address: string
  /** Whether the request was let in before: then it does not end with its token. */
  readonly isUnderWay?: boolean
}

/**
 * What the caller of one request may do. One who shows something that is not good may do nothing,
 * and is told so when the request turns out to need anything.
 *
 * @throws RegistryError TOOMANYREQUESTS after too many failures, UNAVAILABLE when the keys of
 *   another token service cannot be had
 */
export function authenticate(control: AccessControl, caller: Caller): Access | Promise<Access> {
  return fromMemory(control, caller) ?? byLooking(control, caller)
}

/**
 * Of most requests all is remembered that there is to know, and then nothing is waited for.
 * Undefined when something is not, or is not good: the other way tells what.
 */
function fromMemory(control: AccessControl, caller: Caller): Access | undefined {
  const { records, mode, terms } = control
  const memory = records.remembered()
  if (memory === undefined) return undefined
  const { policy, anybody } = memory
  const isFirst = mode === 'first account'
  if (isFirst && anybody === undefined) return undefined
  if (mode === 'none' || (isFirst && anybody === false)) return open(policy)
  const { authorization, isUnderWay = false } = caller
  if (authorization === undefined) return unknown(policy)
  const token = memory.tokens.get(authorization)
  if (token === undefined || (!isUnderWay && isExpired(token, terms.now()))) return undefined
  const { accountId, credentialId } = token.holder
  const account = accountId === undefined ? undefined : memory.accounts.get(accountId)
  const credential = credentialId === undefined ? undefined : memory.credentials.get(credentialId)
  if ((accountId && !account) || (credentialId && !credential)) return undefined
  try {
    const principal = principalOfToken(control, token, { account, credential })
    return new Access({ principal, policy, shown: 'token', scopes: token.scopes })
  } catch (error) {
    if (error instanceof TokenInvalid) return undefined
    throw error
  }
}

async function byLooking(control: AccessControl, caller: Caller): Promise<Access> {
  const { records } = control
  await records.refresh()
  const policy = await records.policy()
  if (await isOpen(control)) return open(policy)
  const { authorization, address } = caller
  if (authorization === undefined) return unknown(policy)
  const [, scheme = '', value = ''] = /^(\w+) +(\S+) *$/.exec(authorization) ?? []
  const isBasic = scheme.toLowerCase() === 'basic'
  try {
    if (isBasic) return await byPassword(control, policy, { value, address })
    if (scheme.toLowerCase() !== 'bearer') throw new TokenInvalid('neither Bearer nor Basic')
    if (kindOfSecret(value) !== undefined)
      return await bySecret(control, policy, { value, address })
    const isUnderWay = caller.isUnderWay ?? false
    return await byToken(control, policy, { header: authorization, text: value, isUnderWay })
  } catch (error) {
    if (error instanceof KeysUnavailable) {
      throw new RegistryError('UNAVAILABLE', 'the keys of the token service', { cause: error })
    }
    if (!(error instanceof TokenInvalid) && !(error instanceof Unauthorized)) throw error
    control.log.info({ reason: error.message, address }, 'credentials not good')
    const shown = isBasic ? 'wrong password' : 'bad token'
    return new Access({ principal: anonymous, policy, shown })
  }
}

function open(policy: Policy): Access {
  return new Access({ principal: anyone, policy, shown: 'nothing' })
}

function unknown(policy: Policy): Access {
  return new Access({ principal: anonymous, policy, shown: 'nothing' })
}

/** Whether everybody may do everything. */
export async function isOpen({ mode, records }: AccessControl): Promise<boolean> {
  if (mode === 'none') return true
  if (mode !== 'first account') return false
  return !(await records.hasAccounts())
}

interface Shown {
  readonly value: string
  readonly address: string
}

async function byPassword(
  control: AccessControl,
  policy: Policy,
  { value, address }: Shown,
): Promise<Access> {
  const credentials = parseBasic(value)
  if (credentials === undefined || control.mode === 'external') {
    throw new TokenInvalid('no name and password')
  }
  const { principal, holder } = await logIn(control, credentials, address)
  const shown = holder.credentialId === undefined ? 'password' : 'secret'
  return new Access({ principal, policy, shown })
}

async function bySecret(
  control: AccessControl,
  policy: Policy,
  { value, address }: Shown,
): Promise<Access> {
  if (control.mode === 'external') throw new TokenInvalid('not a token of the service')
  const { principal } = await logIn(control, { name: undefined, password: value }, address)
  return new Access({ principal, policy, shown: 'secret' })
}

interface ShownToken {
  /** The whole header: what is remembered is found by it. */
  readonly header: string
  readonly text: string
  readonly isUnderWay: boolean
}

async function byToken(
  control: AccessControl,
  policy: Policy,
  { header, text, isUnderWay }: ShownToken,
): Promise<Access> {
  const { records, terms } = control
  const token = await records.token(header, () => verify(control, text))
  if (!isUnderWay && isExpired(token, terms.now())) throw new TokenInvalid('expired')
  const { accountId, credentialId } = token.holder
  const principal = principalOfToken(control, token, {
    account: accountId === undefined ? undefined : await records.account(accountId),
    credential: credentialId === undefined ? undefined : await records.credential(credentialId),
  })
  return new Access({ principal, policy, shown: 'token', scopes: token.scopes })
}

function principalOfToken(control: AccessControl, token: AccessToken, found: Found): Principal {
  if (control.mode === 'external') return ofOtherService(token)
  return principalOfHolder(control, token.holder, found)
}

async function verify(
  { records, terms, external }: AccessControl,
  text: string,
): Promise<AccessToken> {
  if (external !== undefined) {
    const { subject, access, expiresAt } = await external.verify(text)
    return { holder: { subject: subject || undefined }, scopes: access, expiresAt }
  }
  const keys = await records.keys()
  if (keys === undefined) throw new TokenInvalid('there are no keys')
  return verifyAccessToken(keys, text, terms)
}

const OTHERS = new WeakMap<AccessToken, Principal>()

/** What its service gave it counts, and only what is denied here is taken from it. */
function ofOtherService(token: AccessToken): Principal {
  const known = OTHERS.get(token)
  if (known !== undefined) return known
  const own = token.scopes.flatMap(({ type, name, actions }): Coverage[] => {
    // A name is no glob here, whatever is in it.
    if (type !== 'repository' || !isRepositoryName(name)) return []
    const everything = actions.includes('*')
    const rights = {
      pull: everything || actions.includes('pull'),
      push: everything || actions.includes('push'),
      overwrite: everything || actions.includes('push'),
      delete: everything || actions.includes('delete'),
    }
    const given = (['pull', 'push', 'overwrite', 'delete'] as const).filter((each) => rights[each])
    return [{ repositories: [name], actions: given }]
  })
  const { subject } = token.holder
  const principal = subject === undefined ? { ...anonymous, own } : stranger(`user:${subject}`, own)
  OTHERS.set(token, principal)
  return principal
}

/** RFC 7617. The name ends at the first colon, the password may have more. */
export function parseBasic(value: string): Credentials | undefined {
  const text = Buffer.from(value, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  return colon < 0 ? undefined : { name: text.slice(0, colon), password: text.slice(colon + 1) }
}

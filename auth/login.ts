import {
  type Account,
  findAccountByName,
  findRobotBySecret,
  touchAccount,
} from '../storage/metadata/accounts.ts'
import { findCredentialBySecret, touchCredential } from '../storage/metadata/credentials.ts'
import type { AccessControl } from './access-control.ts'
import { checkUsable, keyless, limited, principalOfAccount } from './identity.ts'
import { fileUser, type Principal } from './principal.ts'
import { NAME } from './rules/subject.ts'
import type { Holder } from './tokens/access-token.ts'
import { Unauthorized } from './tokens/challenge.ts'
import { hashSecret, kindOfSecret, type SecretKind } from './tokens/secrets.ts'
import { SecretUnknown, TokenInvalid } from './tokens/token-invalid.ts'

export interface Credentials {
  /** As it was typed; undefined where a secret alone is shown. */
  readonly name: string | undefined
  /** A password or a secret. */
  readonly password: string
}

/** Who somebody is, and how tokens for them say so. */
export interface Login {
  readonly holder: Holder
  readonly principal: Principal
}

/** The name with which CI jobs log in: what they show says who they are. */
const KEYLESS_NAME = 'ci'

/**
 * Says who it is that shows a password, the secret of a robot, a personal token or a CI job's
 * credential. Unknown, disabled, expired and wrong are answered alike.
 *
 * @throws Unauthorized, and RegistryError TOOMANYREQUESTS after too many failures
 */
export async function logIn(
  control: AccessControl,
  { name, password }: Credentials,
  address: string,
): Promise<Login> {
  const kind = kindOfSecret(password)
  if (kind !== undefined) {
    return answering(control, { name, address }, () => bySecret(control, kind, { name, password }))
  }
  return answering(control, { name, address }, () =>
    control.throttle.guard(
      { account: name, address },
      () => byPassword(control, { name, password }),
      (error) => error instanceof TokenInvalid,
    ),
  )
}

interface Attempt {
  readonly name: string | undefined
  readonly address: string
  /** What the client is told, where it may be told more than that it failed. */
  readonly wording?: (error: TokenInvalid) => string
}

/**
 * Words a failed login for the client, and records it. Only passwords are counted: nobody guesses
 * 256 random bits, and a client that goes on with what was revoked must not lock its neighbours out.
 * A secret that nobody has is not recorded either, or strangers would fill the trail.
 *
 * @throws Unauthorized in place of TokenInvalid
 */
export async function answering<T>(
  { audit }: AccessControl,
  { name, address, wording }: Attempt,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof TokenInvalid)) throw error
    if (!(error instanceof SecretUnknown)) {
      const actor = name !== undefined && NAME.test(name) ? `user:${name}` : undefined
      audit.record({ action: 'login', actor, result: 'failed', address, detail: error.message })
    }
    const detail = wording?.(error) ?? 'wrong name or password'
    throw new Unauthorized({ scopes: [] }, detail, { cause: error })
  }
}

async function byPassword(control: AccessControl, { name, password }: Credentials): Promise<Login> {
  if (name === undefined) throw new TokenInvalid('no name')
  const { htpasswd, verifier } = control
  const account = await findAccountByName(control.db, name.includes('\0') ? '' : name)
  // Both are tried whoever it is, so that the time tells nothing of who is known where.
  const [isOwn, isOfFile] = await Promise.all([
    verifier.verify(password, account?.passwordHash, name),
    htpasswd?.verify(name, password) ?? false,
  ])
  if (account !== undefined) {
    if (!isOwn) throw new TokenInvalid('wrong password')
    return loginOf(control, account)
  }
  const revision = htpasswd?.revisionOf(name)
  if (!isOfFile || revision === undefined) throw new TokenInvalid('wrong name or password')
  const principal = fileUser(name, control.records.rules.groupsOf.get(name) ?? [])
  return { principal, holder: { subject: principal.subject, revision } }
}

async function bySecret(
  control: AccessControl,
  kind: SecretKind,
  { name, password }: Credentials,
): Promise<Login> {
  const hash = hashSecret(password)
  if (kind === 'robot') return byRobotSecret(control, hash, name)
  return byCredential(control, hash, { name, kinds: ['personal', 'keyless'] })
}

async function byRobotSecret(
  control: AccessControl,
  hash: Buffer,
  name: string | undefined,
): Promise<Login> {
  const account = await findRobotBySecret(control.db, hash)
  if (account === undefined || (name ?? account.name) !== account.name) {
    throw new SecretUnknown()
  }
  return loginOf(control, account)
}

/** Of who showed what belongs to the account. @throws TokenInvalid */
function loginOf(control: AccessControl, account: Account): Login {
  checkUsable(account, control.terms.now())
  touch(control, () => touchAccount(control.db, account.id))
  const { id: accountId, generation } = account
  const principal = principalOfAccount(control, account)
  return { principal, holder: { subject: principal.subject, accountId, generation } }
}

/**
 * Who it is that shows the secret of a row in `credentials`.
 *
 * @throws TokenInvalid
 */
export async function byCredential(
  control: AccessControl,
  secretHash: Buffer,
  { name, kinds }: { readonly name: string | undefined; readonly kinds: readonly SecretKind[] },
): Promise<Login> {
  const credential = await findCredentialBySecret(control.db, secretHash)
  if (credential === undefined || !kinds.includes(credential.kind)) {
    throw new SecretUnknown()
  }
  const { id: credentialId, accountId, subject } = credential
  touch(control, () => touchCredential(control.db, credentialId))
  if (accountId === undefined) {
    if ((name ?? KEYLESS_NAME) !== KEYLESS_NAME) throw new TokenInvalid('wrong name')
    return { principal: keyless(control, credential), holder: { subject, credentialId } }
  }
  const account = await control.records.account(accountId)
  if (account === undefined || (name ?? account.name) !== account.name) {
    throw new TokenInvalid('wrong name')
  }
  if (credential.kind === 'identity' && credential.generation !== account.generation) {
    throw new TokenInvalid('the account was changed')
  }
  checkUsable(account, control.terms.now())
  const principal = limited(principalOfAccount(control, account), credential)
  const { generation } = account
  return { principal, holder: { subject, accountId, generation, credentialId } }
}

/** When it was used last is nice to know, and worth no failure. */
function touch({ log }: AccessControl, write: () => Promise<void>): void {
  write().catch((error: unknown) => log.debug({ err: error }, 'last use not recorded'))
}

import { randomUUID } from 'node:crypto'
import { RegistryError } from '../../oci/errors.ts'
import { isRepositoryName, type RepositoryName } from '../../oci/reference.ts'
import {
  type Credential,
  countIdentityTokens,
  findCredential,
  insertCredential,
  markFollowed,
} from '../../storage/metadata/credentials.ts'
import type { AccessControl } from '../access-control.ts'
import { answering, byCredential, type Credentials, type Login, logIn } from '../login.ts'
import { anonymous, type Principal } from '../principal.ts'
import type { Assertion } from '../trusted-issuers.ts'
import { signAccessToken } from './access-token.ts'
import type { Scope } from './scope.ts'
import { createSecret, hashSecret } from './secrets.ts'
import { KeysUnavailable } from './token-invalid.ts'

export interface TokenRequest {
  readonly scopes: readonly Scope[]
  /** Whether the client wants something to keep in place of the password. */
  readonly offline: boolean
  readonly address: string
}

export interface GrantedToken {
  readonly token: string
  /** Seconds. */
  readonly expiresIn: number
  /** Of what was asked for, that which was granted. */
  readonly scopes: readonly Scope[]
  /** What to keep in place of the password. */
  readonly refreshToken?: string | undefined
}

/** For who shows nothing: what anonymous may do. */
export async function grantToAnonymous(
  control: AccessControl,
  request: TokenRequest,
): Promise<GrantedToken> {
  return issue(control, { principal: anonymous, holder: {} }, request)
}

/**
 * Docker's token protocol with name and password, or the grant `password` of OAuth 2. A robot's
 * secret, a personal token or a CI job's credential are passwords as well.
 *
 * @throws Unauthorized, RegistryError TOOMANYREQUESTS
 */
export async function grantByPassword(
  control: AccessControl,
  credentials: Credentials,
  request: TokenRequest,
): Promise<GrantedToken> {
  const login = await logIn(control, credentials, request.address)
  const { subject } = login.principal
  // What docker login sends. Every other token belongs to a pull or a push, which tells more.
  if (request.scopes.length === 0) {
    control.audit.record({
      action: 'login',
      actor: subject,
      result: 'done',
      address: request.address,
    })
  }
  const granted = await issue(control, login, request)
  if (!request.offline) return granted
  return { ...granted, refreshToken: await createIdentityToken(control, login) }
}

/**
 * The grant `refresh_token` of OAuth 2. A token in the second half of its life is followed by a
 * new one, once; it stays good all the same until it expires, because Docker goes on using it.
 *
 * @throws Unauthorized, RegistryError TOOMANYREQUESTS
 */
export async function grantByRefreshToken(
  control: AccessControl,
  refreshToken: string,
  request: TokenRequest,
): Promise<GrantedToken> {
  const login = await answering(control, { name: undefined, address: request.address }, () =>
    byCredential(control, hashSecret(refreshToken), {
      name: undefined,
      kinds: ['identity', 'keyless'],
    }),
  )
  const granted = await issue(control, login, request)
  return { ...granted, refreshToken: await renewed(control, login, refreshToken) }
}

/**
 * RFC 8693: the ID token of a CI job, issued by somebody trusted, for a token of ours.
 *
 * @throws Unauthorized, and RegistryError UNAVAILABLE when its issuer's keys cannot be had
 */
export async function grantByAssertion(
  control: AccessControl,
  assertion: string,
  request: TokenRequest,
): Promise<GrantedToken> {
  const { subject, coverage, revisions, seconds } = await answering(
    control,
    {
      name: undefined,
      address: request.address,
      wording: ({ message }) => `the ID token was not accepted: ${message}`,
    },
    () => exchange(control, assertion),
  )
  const { secret, hash: secretHash } = createSecret('keyless')
  const id = randomUUID()
  const revision = revisions.join(' ')
  await insertCredential(control.db, {
    ...NO_ACCOUNT,
    id,
    subject,
    secretHash,
    coverage,
    seconds,
    revision,
  })
  control.audit.record({
    action: 'login',
    actor: subject,
    result: 'done',
    address: request.address,
  })
  const login = await byCredential(control, secretHash, { name: undefined, kinds: ['keyless'] })
  const granted = await issue(control, login, request)
  return { ...granted, expiresIn: Math.min(granted.expiresIn, seconds), refreshToken: secret }
}

async function exchange({ issuers }: AccessControl, assertion: string): Promise<Assertion> {
  try {
    return await issuers.exchange(assertion)
  } catch (error) {
    if (!(error instanceof KeysUnavailable)) throw error
    const detail = 'the issuer of the token cannot be reached'
    throw new RegistryError('UNAVAILABLE', detail, { cause: error })
  }
}

const NO_ACCOUNT = {
  kind: 'keyless',
  accountId: undefined,
  parentId: undefined,
  generation: undefined,
  name: '',
} as const

async function issue(
  control: AccessControl,
  { principal, holder }: Login,
  { scopes }: TokenRequest,
): Promise<GrantedToken> {
  const [policy, keys] = await Promise.all([control.records.policy(), control.records.keys()])
  if (keys === undefined) throw new RegistryError('UNAVAILABLE', 'there is no key to sign with')
  const mayDo: MayDo = (repository, action) =>
    policy.decide(principal, { repository, action }).allowed
  const granted = intersection(scopes, principal, (repository, action) => {
    if (mayDo(repository, action)) return true
    const aliases = action === 'pull' ? control.aliases?.(repository) : undefined
    return aliases?.some((alias) => mayDo(alias, action)) ?? false
  })
  const signed = await signAccessToken(keys, { holder, scopes: granted }, control.terms)
  return { ...signed, expiresIn: control.terms.seconds }
}

/** What was asked for and may be done. Scopes of kinds that are not ours are left out. */
function intersection(scopes: readonly Scope[], principal: Principal, mayDo: MayDo): Scope[] {
  return scopes.flatMap((scope) => {
    if (scope.type === 'registry') {
      const mayList = scope.name === 'catalog' && principal.subject !== undefined
      return mayList ? [{ ...scope, actions: ['*'] }] : []
    }
    const { name: repository } = scope
    if (scope.type !== 'repository' || !isRepositoryName(repository)) return []
    const asked = scope.actions.includes('*')
      ? SCOPED
      : SCOPED.filter((action) => scope.actions.includes(action))
    const actions = asked.filter((action) => mayDo(repository, action))
    return actions.length === 0 ? [] : [{ ...scope, actions }]
  })
}

/** The actions that scopes name: moving a tag is a push to them. */
const SCOPED = ['pull', 'push', 'delete'] as const

type MayDo = (repository: RepositoryName, action: (typeof SCOPED)[number]) => boolean

/** So many logins of an account are remembered; another client has to keep the password. */
const MOST_IDENTITY_TOKENS = 1000

async function createIdentityToken(
  { db, terms }: AccessControl,
  { principal, holder }: Login,
): Promise<string | undefined> {
  const { accountId, subject, generation, credentialId } = holder
  if (accountId === undefined || subject === undefined) return undefined
  if ((await countIdentityTokens(db, accountId)) >= MOST_IDENTITY_TOKENS) return undefined
  const parent = credentialId === undefined ? undefined : await findCredential(db, credentialId)
  const { secret, hash: secretHash } = createSecret('identity')
  await insertCredential(db, {
    id: randomUUID(),
    kind: 'identity',
    accountId,
    parentId: credentialId,
    subject,
    name: '',
    secretHash,
    coverage: principal.limit,
    generation,
    revision: undefined,
    seconds: Math.min(terms.identitySeconds, secondsLeft(parent, terms.now())),
  })
  return secret
}

/** What was obtained with something does not outlive it. */
function secondsLeft(parent: Credential | undefined, now: Date): number {
  if (parent?.expiresAt === undefined) return Number.POSITIVE_INFINITY
  return Math.max(0, (parent.expiresAt.getTime() - now.getTime()) / 1000)
}

async function renewed(control: AccessControl, login: Login, current: string): Promise<string> {
  const { credentialId, accountId } = login.holder
  if (accountId === undefined || credentialId === undefined) return current
  const credential = await control.records.credential(credentialId)
  const left = (credential?.expiresAt?.getTime() ?? 0) - control.terms.now().getTime()
  if (credential === undefined || left > (control.terms.identitySeconds * 1000) / 2) return current
  // Once: a client that goes on with the one it has would be given another on each pull.
  if (!(await markFollowed(control.db, credentialId))) return current
  const holder = { ...login.holder, credentialId: credential.parentId }
  return (await createIdentityToken(control, { ...login, holder })) ?? current
}

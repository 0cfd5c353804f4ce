import type { Account } from '../storage/metadata/accounts.ts'
import type { Credential } from '../storage/metadata/credentials.ts'
import type { AccessControl } from './access-control.ts'
import { anonymous, fileUser, type Principal, principalOf, stranger } from './principal.ts'
import type { AccessRules } from './rules/access-file.ts'
import type { Coverage } from './rules/grant.ts'
import type { Holder } from './tokens/access-token.ts'
import { TokenInvalid } from './tokens/token-invalid.ts'
import { revisionOf } from './trusted-issuers.ts'

/** Accounts are remembered until something changes, and so is what follows from them. */
const PRINCIPALS = new WeakMap<Account, Principal>()

/** What the records say of whom a token names; undefined: nothing of the kind is there. */
export interface Found {
  readonly account: Account | undefined
  readonly credential: Credential | undefined
}

/**
 * Whom a token speaks for, by the accounts, credentials and rules as they are at this moment.
 *
 * @throws TokenInvalid when that one is not welcome any more
 */
export function principalOfHolder(
  control: AccessControl,
  { accountId, credentialId, generation, revision, subject }: Holder,
  { account, credential }: Found,
): Principal {
  if (credentialId !== undefined) checkCredential(control, credential)
  if (accountId !== undefined) {
    if (account === undefined || account.generation !== generation) {
      throw new TokenInvalid('the account is gone or was changed')
    }
    checkUsable(account, control.terms.now())
    return limited(principalOfAccount(control, account), credential)
  }
  if (credential !== undefined) return keyless(control, credential)
  if (subject === undefined) return anonymous
  return userOfFile(control, subject, revision)
}

export function principalOfAccount({ records }: AccessControl, account: Account): Principal {
  const known = PRINCIPALS.get(account)
  if (known !== undefined) return known
  const principal = principalOf(account, records.rules.groupsOf.get(account.name) ?? [])
  PRINCIPALS.set(account, principal)
  return principal
}

/** @throws TokenInvalid */
export function checkUsable({ disabled, expiresAt }: Account, now: Date): void {
  if (disabled) throw new TokenInvalid('the account is disabled')
  if (expiresAt !== undefined && expiresAt <= now) throw new TokenInvalid('the account expired')
}

/** A personal token, and what was obtained with it, may narrow what the account may do. */
export function limited(principal: Principal, credential: Credential | undefined): Principal {
  if (credential?.coverage === undefined) return principal
  return { ...principal, limit: coverageOf(credential) }
}

function checkCredential({ terms }: AccessControl, credential: Credential | undefined): void {
  if (credential === undefined) throw new TokenInvalid('what it was obtained with was revoked')
  if (credential.expiresAt !== undefined && credential.expiresAt <= terms.now()) {
    throw new TokenInvalid('what it was obtained with expired')
  }
}

/** A CI job keeps its rights only while the rules that gave them are there, unchanged. */
export function keyless({ records }: AccessControl, credential: Credential): Principal {
  const current = revisionsIn(records.rules)
  const revisions = credential.revision?.split(' ') ?? []
  if (revisions.length === 0 || !revisions.every((revision) => current.has(revision))) {
    throw new TokenInvalid('the rule that let it in was changed')
  }
  return stranger(credential.subject, coverageOf(credential))
}

const REVISIONS = new WeakMap<AccessRules, ReadonlySet<string>>()

/** Of every rule for CI jobs that is in force. */
function revisionsIn(rules: AccessRules): ReadonlySet<string> {
  const known = REVISIONS.get(rules)
  if (known !== undefined) return known
  const revisions = new Set(
    rules.issuers.flatMap((issuer) => issuer.rules.map((rule) => revisionOf(issuer, rule))),
  )
  REVISIONS.set(rules, revisions)
  return revisions
}

function userOfFile(
  { htpasswd, records }: AccessControl,
  subject: string,
  revision: string | undefined,
): Principal {
  const name = subject.slice('user:'.length)
  if (revision === undefined || htpasswd?.revisionOf(name) !== revision) {
    throw new TokenInvalid('the entry of the htpasswd file was changed')
  }
  return fileUser(name, records.rules.groupsOf.get(name) ?? [])
}

function coverageOf({ coverage }: Credential): readonly Coverage[] {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked before it was stored
  return (coverage ?? []) as readonly Coverage[]
}

import { parseReference, parseRepositoryName } from '../../oci/reference.ts'
import { findAccountByName } from '../../storage/metadata/accounts.ts'
import type { AccessControl } from '../access-control.ts'
import { describeGrant } from '../accounts/grants.ts'
import { isOpen } from '../authenticate.ts'
import { checkUsable, principalOfAccount } from '../identity.ts'
import { anonymous, anyone, fileUser, type Principal } from '../principal.ts'
import { TokenInvalid } from '../tokens/token-invalid.ts'
import type { Action } from './grant.ts'
import type { Decision } from './policy.ts'

export interface Explanation {
  readonly allowed: boolean
  /** One line for a person: what decides, and where it stands. */
  readonly why: string
}

export interface ExplainedRequest {
  /** The name of an account or of a user of the htpasswd file, or `anonymous`. */
  readonly who: string
  readonly action: Action
  /** `team/app`, `team/app:tag` or `team/app@sha256:…` */
  readonly image: string
}

/**
 * Whether somebody may do something, by the code that decides requests, and by which rule.
 *
 * @throws RegistryError NAME_INVALID, TAG_INVALID, DIGEST_INVALID
 */
export async function explain(
  control: AccessControl,
  { who, action, image }: ExplainedRequest,
): Promise<Explanation> {
  const [, name = '', separator, reference = ''] = /^([^:@]*)([:@]?)(.*)$/s.exec(image) ?? []
  const repository = parseRepositoryName(name)
  const parsed = separator === '' ? undefined : parseReference(reference)
  const tag = parsed?.kind === 'tag' ? parsed.tag : undefined
  const policy = await control.records.policy()
  try {
    const principal = await principalNamed(control, who)
    const decision = policy.decide(principal, { repository, action, tag })
    // Who moves a tag has to be able to push at all.
    const base =
      action === 'overwrite' && decision.allowed
        ? policy.decide(principal, { repository, action: 'push' })
        : decision
    return base.allowed ? wording(decision) : wording(base)
  } catch (error) {
    if (error instanceof TokenInvalid) return { allowed: false, why: error.message }
    throw error
  }
}

async function principalNamed(control: AccessControl, who: string): Promise<Principal> {
  if (await isOpen(control)) return anyone
  if (who === 'anonymous') return anonymous
  const [, kind, name = ''] = /^(?:(user|robot):)?(.*)$/s.exec(who) ?? []
  const account = await findAccountByName(control.db, name)
  if (account !== undefined && (kind ?? account.kind) === account.kind) {
    checkUsable(account, control.terms.now())
    return principalOfAccount(control, account)
  }
  const groups = control.records.rules.groupsOf.get(name) ?? []
  const isOfFile = account === undefined && kind !== 'robot'
  if (isOfFile && control.htpasswd?.revisionOf(name) !== undefined) return fileUser(name, groups)
  throw new TokenInvalid(`there is no account ${who}`)
}

function wording({ allowed, reason, grant }: Decision): Explanation {
  if (grant !== undefined) return { allowed, why: `${grant.origin}: ${describeGrant(grant)}` }
  const why = {
    'own right': 'an administrator may do what no grant denies',
    'limit of the token': 'the token is narrowed to less',
    'no grant': 'no grant allows it',
    grant: '',
  }[reason]
  return { allowed, why }
}

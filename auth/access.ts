import { RegistryError } from '../oci/errors.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import { anyone, type Principal } from './principal.ts'
import type { Action, Subject } from './rules/grant.ts'
import type { Policy, Readable } from './rules/policy.ts'
import { type Challenge, Unauthorized } from './tokens/challenge.ts'
import { formatScope, type Scope } from './tokens/scope.ts'

export type { Action }

export interface AccessOptions {
  readonly principal: Principal
  readonly policy: Pick<Policy, 'decide' | 'readable'>
  /** What the caller showed: it decides how a refusal is worded. */
  readonly shown: 'nothing' | 'token' | 'password' | 'secret' | 'bad token' | 'wrong password'
  /** What the token was issued for; undefined: everything the principal may do. */
  readonly scopes?: readonly Scope[]
}

/** What the bearer of one request may do, by the rules as they are at this moment. */
export class Access {
  readonly principal: Principal
  readonly #policy: AccessOptions['policy']
  readonly #shown: AccessOptions['shown']
  readonly #scopes: AccessOptions['scopes']

  constructor({ principal, policy, shown, scopes }: AccessOptions) {
    this.principal = principal
    this.#policy = policy
    this.#shown = shown
    this.#scopes = scopes
  }

  /** The same access, where what a token was issued for as `asked` counts for `repository` too. */
  standingFor(asked: RepositoryName, repository: RepositoryName): Access {
    const scopes = this.#scopes?.flatMap((scope) =>
      scope.type === 'repository' && scope.name === asked
        ? [scope, { ...scope, name: repository }]
        : [scope],
    )
    return new Access({
      principal: this.principal,
      policy: this.#policy,
      shown: this.#shown,
      ...(scopes === undefined ? {} : { scopes }),
    })
  }

  /** Undefined for anonymous. */
  get subject(): Subject | undefined {
    return this.principal.subject
  }

  allows(repository: RepositoryName, action: Action, tag?: Tag): boolean {
    if (!this.#isGood || !this.#inScope(repository, action)) return false
    return this.mayObtain(repository, action, tag)
  }

  /** Whether the caller has the right, be it that this token was not issued for it. */
  mayObtain(repository: RepositoryName, action: Action, tag?: Tag): boolean {
    return this.#policy.decide(this.principal, { repository, action, tag }).allowed
  }

  /**
   * @throws Unauthorized when another token might help
   * @throws RegistryError DENIED when none would: a name and a password were shown
   */
  require(repository: RepositoryName, action: Action): void {
    if (this.allows(repository, action)) return
    const isFinal = this.subject !== undefined && !this.mayObtain(repository, action)
    throw this.refusal([scopeFor(repository, action)], isFinal)
  }

  /**
   * For what concerns one tag, of which the rules may say more than of the repository.
   *
   * @throws RegistryError DENIED: no token changes what the rules say of a tag
   */
  requireTag(repository: RepositoryName, action: Action, tag: Tag): void {
    if (this.allows(repository, action, tag)) return
    throw new RegistryError('DENIED', `${action} of ${repository}:${tag} is not allowed`)
  }

  /**
   * For what names no tag and yet must not be done by right of a grant that is limited to some.
   *
   * @throws RegistryError DENIED
   */
  requireWhole(repository: RepositoryName, action: Action): void {
    const question = { repository, action, whole: true }
    if (this.#policy.decide(this.principal, question).allowed) return
    throw new RegistryError('DENIED', `${action} of ${repository} is limited to some tags`)
  }

  /** What to throw in place of `error` where it is final for who showed all there is to show. */
  worded(error: unknown, scopes: readonly Scope[]): unknown {
    const isDenied =
      error instanceof RegistryError && error.code === 'DENIED' && error.status === 403
    const isStranger = this.#shown === 'nothing' && !this.isEverybody
    return isDenied && isStranger ? this.refusal(scopes) : error
  }

  /** The repositories a list may show. @throws Unauthorized, RegistryError DENIED */
  requireCatalog(): Readable {
    if (!this.isEverybody && this.subject === undefined) throw this.refusal([CATALOG])
    return this.requireReadable()
  }

  /** The same where anonymous need not show anything, and sees what anybody may pull. */
  requireReadable(): Readable {
    const inScope =
      this.#scopes === undefined ||
      this.#scopes.some(({ type, name }) => type === 'registry' && name === 'catalog')
    if (!this.#isGood || !inScope) throw this.refusal([CATALOG])
    return this.#policy.readable(this.principal)
  }

  /** @throws Unauthorized when nothing good was shown, be it that nothing is needed */
  requireCaller(): void {
    if (this.isEverybody) return
    if (this.#shown === 'nothing' || !this.#isGood) throw this.refusal([])
  }

  /**
   * For what is no repository's business. A registry token does not do: it was made for a scope.
   *
   * @throws Unauthorized, RegistryError DENIED
   */
  requireAdmin(): void {
    this.requireAccount()
    if (!this.isAdmin) throw new RegistryError('DENIED', 'this takes an administrator')
  }

  /** @throws Unauthorized unless it was said with a password or a secret who asks */
  requireAccount(): void {
    if (this.isEverybody || this.#isPerson) return
    throw new Unauthorized({ scopes: [] }, 'a name and a password are needed')
  }

  /** Whether nobody was asked who it is. */
  get isEverybody(): boolean {
    return this.principal === anyone
  }

  get isAdmin(): boolean {
    return this.principal.admin && this.principal.limit === undefined
  }

  /** Whether it was with a password, and not with a token made by one. */
  get showedPassword(): boolean {
    return this.#shown === 'password'
  }

  /** Whether it was said who asks, and not only what for. */
  get #isPerson(): boolean {
    return this.#shown === 'password' || this.#shown === 'secret'
  }

  get #isGood(): boolean {
    return this.#shown !== 'bad token' && this.#shown !== 'wrong password'
  }

  /** What to throw where `scopes` were missing. */
  refusal(scopes: readonly Scope[], isFinal = false): RegistryError {
    if (this.#isPerson) return new RegistryError('DENIED', describe(scopes))
    const error = ERRORS[this.#shown]
    const challenge: Challenge = error === undefined ? { scopes } : { error, scopes }
    return new Unauthorized(challenge, scopes.length === 0 ? [] : describe(scopes), { isFinal })
  }

  #inScope(repository: RepositoryName, action: Action): boolean {
    if (this.#scopes === undefined) return true
    const named = action === 'overwrite' ? 'push' : action
    return this.#scopes.some(
      ({ type, name, actions }) =>
        type === 'repository' &&
        name === repository &&
        (actions.includes(named) || actions.includes('*')),
    )
  }
}

/** Of tokens only: clients take it for a token that was shown. RFC 6750, section 3.1. */
const ERRORS: Readonly<Record<string, Challenge['error']>> = {
  token: 'insufficient_scope',
  'bad token': 'invalid_token',
}

const CATALOG: Scope = { type: 'registry', name: 'catalog', actions: ['*'] }

/** What a client asks for when it needs the right; who pushes has to look first. */
export function scopeFor(repository: RepositoryName, action: Action): Scope {
  const actions = action === 'pull' || action === 'delete' ? [action] : ['pull', 'push']
  return { type: 'repository', name: repository, actions }
}

function describe(scopes: readonly Scope[]): string {
  return scopes.map(formatScope).join(' ')
}

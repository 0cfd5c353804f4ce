import { compileGlob, type Matcher, patternOf, prefixesOf } from '../../oci/glob.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Principal } from '../principal.ts'
import type { Action, Coverage, Grant, Subject } from './grant.ts'

export interface Question {
  readonly repository: RepositoryName
  readonly action: Action
  /** Undefined when no tag is named: for blobs, digests and lists. */
  readonly tag?: Tag | undefined
  /** Without a tag: whether what is asked for would touch more than grants with tags are about. */
  readonly whole?: boolean
}

export interface Decision {
  readonly allowed: boolean
  /** The grant that decided; undefined when none did. */
  readonly grant?: Grant
  /** Why, where it was no grant. */
  readonly reason: 'grant' | 'own right' | 'limit of the token' | 'no grant'
}

/**
 * All grants, and what follows from them: what any of them allows is allowed, unless one denies.
 *
 * A grant with tags is about requests that name one. To a request that names none, such as for a
 * blob, it gives what it allows, since tags cannot be used without blobs; and denies nothing.
 *
 * What `anonymous` may do everybody may; what it is denied only who does not log in.
 */
export class Policy {
  readonly grants: readonly Grant[]
  readonly #bySubject = new Map<Subject, CompiledGrant[]>()
  /** What was found for the subjects of a principal, which is remembered as long as they are. */
  readonly #ofSubjects = new WeakMap<readonly Subject[], readonly CompiledGrant[]>()

  constructor(grants: readonly Grant[]) {
    this.grants = grants
    for (const grant of grants) {
      const list = this.#bySubject.get(grant.subject) ?? []
      list.push({ grant, ...compileCoverage(grant) })
      this.#bySubject.set(grant.subject, list)
    }
  }

  decide(principal: Principal, question: Question): Decision {
    if (principal.limit !== undefined && !covers(principal.limit, question)) {
      return { allowed: false, reason: 'limit of the token' }
    }
    let allowing: Grant | undefined
    for (const compiled of this.#of(principal)) {
      if (compiled.grant.effect === 'allow' && allowing !== undefined) continue
      if (!matches(compiled, question, compiled.grant.effect)) continue
      if (compiled.grant.effect === 'deny') {
        return { allowed: false, grant: compiled.grant, reason: 'grant' }
      }
      allowing = compiled.grant
    }
    if (covers(principal.own, question)) return { allowed: true, reason: 'own right' }
    if (allowing === undefined) return { allowed: false, reason: 'no grant' }
    return { allowed: true, grant: allowing, reason: 'grant' }
  }

  /** Globs of what the principal may pull from, and of what it may not all the same. */
  readable(principal: Principal): Readable {
    const grants = this.#of(principal).map(({ grant }) => grant)
    const allow = [...principal.own, ...grants.filter((grant) => grant.effect === 'allow')]
    const deny = grants.filter((grant) => grant.effect === 'deny' && grant.tags === undefined)
    return {
      allow: globsOf(allow.filter(pulls)),
      deny: globsOf(deny.filter(pulls)),
      within: principal.limit && globsOf(principal.limit.filter(pulls)),
    }
  }

  #of({ subjects }: Principal): readonly CompiledGrant[] {
    const known = this.#ofSubjects.get(subjects)
    if (known !== undefined) return known
    const mine = subjects.flatMap((subject) => this.#bySubject.get(subject) ?? [])
    if (!subjects.includes('anonymous')) {
      // Nobody loses by logging in what is allowed without.
      const free = this.#bySubject.get('anonymous') ?? []
      mine.push(...free.filter(({ grant }) => grant.effect === 'allow'))
    }
    this.#ofSubjects.set(subjects, mine)
    return mine
  }
}

/** Repositories by globs: one of `allow` has to match, none of `deny`, and one of `within`. */
export interface Readable {
  readonly allow: readonly string[]
  readonly deny: readonly string[]
  /** Undefined: any. */
  readonly within: readonly string[] | undefined
}

/** The same as regular expressions of Postgres: a name has to match all of `all`, none of `none`. */
export function patternsOf({ allow, deny, within }: Readable): {
  readonly all: readonly string[]
  readonly none: readonly string[]
  readonly prefixes: readonly string[]
} {
  const limits = [allow, ...(within === undefined ? [] : [within])]
  return {
    prefixes: prefixesOf(allow),
    // What any name matches need not be tried on each.
    all: limits.filter((globs) => !globs.includes('**')).map(patternOf),
    none: deny.length === 0 ? [] : [patternOf(deny)],
  }
}

interface Compiled {
  readonly actions: ReadonlySet<Action>
  readonly repositories: readonly Matcher[]
  readonly tags: readonly Matcher[] | undefined
}

interface CompiledGrant extends Compiled {
  readonly grant: Grant
}

function compileCoverage({ actions, repositories, tags }: Coverage): Compiled {
  return {
    actions: new Set(actions),
    repositories: repositories.map(compileGlob),
    tags: tags?.map(compileGlob),
  }
}

/** Coverages come with principals, which are remembered: each is compiled once. */
const COMPILED = new WeakMap<Coverage, Compiled>()

function covers(coverages: readonly Coverage[], question: Question): boolean {
  return coverages.some((coverage) => {
    const compiled = COMPILED.get(coverage) ?? compileCoverage(coverage)
    COMPILED.set(coverage, compiled)
    return matches(compiled, question, 'allow')
  })
}

function matches(
  { actions, repositories, tags }: Compiled,
  { repository, action, tag, whole = false }: Question,
  effect: Grant['effect'],
): boolean {
  if (!actions.has(action)) return false
  if (tags !== undefined) {
    if (tag === undefined && (whole || effect === 'deny')) return false
    if (tag !== undefined && !tags.some((each) => each(tag))) return false
  }
  return repositories.some((each) => each(repository))
}

function pulls({ actions }: Coverage): boolean {
  return actions.includes('pull')
}

function globsOf(coverages: readonly Coverage[]): string[] {
  return [...new Set(coverages.flatMap(({ repositories }) => repositories))]
}

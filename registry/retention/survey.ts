/* Goes through repositories, and judges each tag. Memory is bounded by pages. */
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable } from '../../storage/metadata/database.ts'
import type { RepositoryId } from '../../storage/metadata/repositories.ts'
import {
  type HostedRepository,
  listHostedRepositories,
  listNewestTags,
  listStandingTags,
  type StandingTag,
} from '../../storage/metadata/retention.ts'
import type { Registry } from '../registry.ts'
import { judge, type Verdict } from './judge.ts'
import type { Protects } from './retention.ts'
import type { CompiledRule } from './rules.ts'

const PAGE = 1000

/** A tag, and what becomes of it. */
export interface JudgedTag extends StandingTag, Verdict {
  readonly repository: RepositoryName
}

export interface RepositoryRules {
  readonly repository: HostedRepository
  /** Those that cover it. */
  readonly rules: readonly CompiledRule[]
}

/** The hosted repositories of which `wanted` wants the name, in byte order. */
export async function* hostedRepositories(
  { db, retention }: Pick<Registry, 'db' | 'retention'>,
  wanted: (repository: RepositoryName) => boolean,
): AsyncGenerator<RepositoryRules> {
  for (let after = ''; ; ) {
    const page = await listHostedRepositories(db, { after, limit: PAGE })
    for (const repository of page.filter(({ name }) => wanted(name))) {
      yield { repository, rules: retention.rules.of(repository.name) }
    }
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) return
    after = last.name
  }
}

/** How a repository is judged. */
export interface Terms {
  /** By the clock of the database; nothing gets older while work goes on. */
  readonly now: Date
  readonly protects: Protects
}

/** The repository's tags in byte order, judged, page by page. */
export async function* judgedTags(
  db: Queryable,
  { repository, rules }: RepositoryRules,
  terms: Terms,
  known?: Ranks,
): AsyncGenerator<readonly JudgedTag[]> {
  const ranks = known ?? (await ranksOf(db, repository.id, rules))
  for (let after = ''; ; ) {
    const page = await listStandingTags(db, repository.id, { after, limit: PAGE })
    if (page.length > 0) yield judgeAll(page, { repository, rules, ranks }, terms)
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) return
    after = last.tag
  }
}

export type Ranks = ReadonlyMap<CompiledRule, ReadonlyMap<Tag, number>>

export function judgeAll(
  tags: readonly StandingTag[],
  { repository, rules, ranks }: RepositoryRules & { readonly ranks: Ranks },
  { now, protects }: Terms,
): readonly JudgedTag[] {
  return tags.map((standing) => {
    const facts = {
      ...standing,
      isProtected: protects(repository.name, standing.tag),
      rankIn: (rule: CompiledRule) => ranks.get(rule)?.get(standing.tag),
    }
    return { ...standing, ...judge(facts, rules, now), repository: repository.name }
  })
}

/** The newest tags by the rules that care which these are. */
export async function ranksOf(
  db: Queryable,
  repositoryId: RepositoryId,
  rules: readonly CompiledRule[],
): Promise<Ranks> {
  const ranks = new Map<CompiledRule, ReadonlyMap<Tag, number>>()
  for (const rule of rules) {
    if (rule.ranked === undefined) continue
    const newest = await listNewestTags(db, repositoryId, rule.ranked)
    ranks.set(rule, new Map(newest.map((tag, index) => [tag, index + 1])))
  }
  return ranks
}

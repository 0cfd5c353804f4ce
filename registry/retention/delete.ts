import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable, Transaction } from '../../storage/metadata/database.ts'
import { lockRepository, type RepositoryId } from '../../storage/metadata/repositories.ts'
import {
  areTagsDeletedSince,
  deleteTagsForRetention,
  findLastChange,
  findStandingTags,
} from '../../storage/metadata/retention.ts'
import { lockTags } from '../../storage/metadata/tags.ts'
import type { Registry } from '../registry.ts'
import { type Revoke, type Revoking, revokingInTurn } from '../revocation.ts'
import type { Claim } from './claim.ts'
import {
  hostedRepositories,
  type JudgedTag,
  judgeAll,
  judgedTags,
  type Ranks,
  type RepositoryRules,
  ranksOf,
  type Terms,
} from './survey.ts'

/** Few enough that nobody waits long for one of them, and that others are told in one message. */
const BATCH = 50
const TOLD_TAGS = 10_000

/** What it takes to delete tags by the rules, which commands have as well. */
export type Deleting = Revoking & Pick<Registry, 'retention' | 'faultPoint'>

export interface DeletionTerms {
  /** As the history of the tags names who it was. */
  readonly actor: string | undefined
  /** Tags that may go. */
  readonly most: number
  readonly terms: Terms
  readonly claim: Claim
  readonly signal?: AbortSignal | undefined
}

export interface Deleted {
  readonly count: number
  /** Some of them, as `repository:tag`. */
  readonly tags: readonly string[]
  /** Whether these are all. */
  readonly isWhole: boolean
  /** What ended it before its time. */
  readonly error: Error | undefined
}

/**
 * Deletes what the rules delete in these repositories, a few tags in one transaction. Each is judged once
 * more when it is locked, and stays when it was pushed, or is needed, since. It does not throw: what was
 * deleted before something went wrong is to be told.
 */
export async function deleteTags(
  registry: Deleting,
  repositories: ReadonlySet<RepositoryName>,
  limits: DeletionTerms,
): Promise<Deleted> {
  const told: string[] = []
  let count = 0
  let error: Error | undefined
  try {
    // With nothing to delete nobody has to be told, and waited for.
    if (repositories.size === 0) return { count, tags: [], isWhole: true, error }
    await revokingInTurn(registry, async (commit) => {
      const batches = batchesOf(registry, repositories, limits)
      for await (const { each, newest, batch } of batches) {
        limits.signal?.throwIfAborted()
        await limits.claim.renew()
        const few = batch.slice(0, limits.most - count)
        if (few.length === 0) return
        await registry.faultPoint('retention judged')
        const change = { registry, each, newest, batch: few, limits }
        const gone = await commit((tx, revoke) => deleteBatch(tx, revoke, change))
        count += gone.length
        const named = gone.slice(0, TOLD_TAGS - told.length)
        told.push(...named.map((tag) => `${each.repository.name}:${tag}`))
      }
    })
  } catch (caught) {
    error = caught instanceof Error ? caught : new Error(String(caught))
  }
  return { count, tags: told, isWhole: told.length === count, error }
}

interface Batch {
  readonly each: RepositoryRules
  readonly newest: Newest
  readonly batch: readonly JudgedTag[]
}

async function* batchesOf(
  registry: Deleting,
  repositories: ReadonlySet<RepositoryName>,
  { terms }: DeletionTerms,
): AsyncGenerator<Batch> {
  for await (const each of hostedRepositories(registry, (name) => repositories.has(name))) {
    const newest = new Newest(each)
    const ranks = await newest.ranks(registry.db)
    for await (const page of judgedTags(registry.db, each, terms, ranks)) {
      const going = page.filter(({ deletes }) => deletes)
      for (let start = 0; start < going.length; start += BATCH) {
        yield { each, newest, batch: going.slice(start, start + BATCH) }
      }
    }
  }
}

interface BatchDeletion extends Batch {
  readonly registry: Pick<Registry, 'retention'>
  readonly limits: DeletionTerms
}

async function deleteBatch(
  tx: Transaction,
  revoke: Revoke,
  { registry, each, newest, batch, limits }: BatchDeletion,
): Promise<readonly Tag[]> {
  const { id, name } = each.repository
  const tags = batch.map(({ tag }) => tag)
  // By another name other rules cover it.
  if (!(await lockRepository(tx, id, name))) return []
  await lockTags(tx, id, tags)
  // What they name, and when they were pushed, cannot change any more.
  const standing = await findStandingTags(tx, id, tags)
  const ranks = await newest.ranks(tx)
  const terms = { ...limits.terms, protects: await registry.retention.protection() }
  const versions = new Map(batch.map(({ tag, version }) => [tag, version]))
  const going = judgeAll(standing, { ...each, ranks }, terms)
    .filter(({ tag, version, deletes }) => deletes && version === versions.get(tag))
    .map(({ tag }) => tag)
  if (going.length === 0) return []
  await revoke({ repository: name, tags: going })
  return deleteTagsForRetention(tx, id, going, limits.actor)
}

/**
 * Which tags of a repository are the newest. A tag becomes one of them when another one is deleted, and
 * in no other way: then all are looked at again.
 */
class Newest {
  readonly #id: RepositoryId
  readonly #rules: RepositoryRules['rules']
  #known: { readonly ranks: Ranks; readonly change: string } | undefined

  constructor({ repository, rules }: RepositoryRules) {
    this.#id = repository.id
    this.#rules = rules.filter(({ ranked }) => ranked !== undefined)
  }

  async ranks(db: Queryable): Promise<Ranks> {
    if (this.#rules.length === 0) return new Map()
    const known = this.#known
    if (known !== undefined && !(await areTagsDeletedSince(db, this.#id, known.change))) {
      return known.ranks
    }
    const change = await findLastChange(db, this.#id)
    const ranks = await ranksOf(db, this.#id, this.#rules)
    this.#known = { ranks, change }
    return ranks
  }
}

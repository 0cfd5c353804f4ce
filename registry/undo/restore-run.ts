import type { Digest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/errors.ts'
import { checkRepositoryGlob, patternOf } from '../../oci/glob.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { Queryable } from '../../storage/metadata/database.ts'
import {
  type DeletedTag,
  listRepositoriesOfRun,
  listTagsOfRun,
  type RetentionRun,
} from '../../storage/metadata/tag-history.ts'
import { revokingInTurn } from '../revocation.ts'
import type { PermitsTag } from '../tag-rights.ts'
import type { Restoring } from './restore-content.ts'
import { restoreTagWithin } from './restore-tag.ts'

export interface RunRestore {
  /** The earliest time at which retention deleted. */
  readonly since: Date
  /** A glob of repositories. */
  readonly repositories: string
  readonly actor: string | undefined
  readonly permits: (repository: RepositoryName) => PermitsTag
}

export interface TagOfRun {
  readonly repository: RepositoryName
  readonly tag: Tag
  readonly digest: Digest
  /** Why it was not restored; undefined: it was. */
  readonly refusal: string | undefined
}

const PAGE = 100

/**
 * Restores the tags that retention deleted, each by itself: those that are not there by now, and can be
 * restored.
 *
 * @returns what became of each, by repository and name
 * @throws RegistryError NAME_INVALID for what is no glob
 */
export async function restoreRun(registry: Restoring, run: RunRestore): Promise<TagOfRun[]> {
  checkRepositoryGlob(run.repositories)
  const wanted = { since: run.since, pattern: patternOf([run.repositories]) }
  return revokingInTurn(registry, async (commit) => {
    const outcomes: TagOfRun[] = []
    for await (const { repository, tag, digest } of tagsOf(registry.db, wanted)) {
      const restore = {
        repository,
        tag,
        to: digest,
        onlyMissing: true,
        actor: run.actor,
        permits: run.permits(repository),
      }
      const refusal = await refusalOf(() =>
        commit((tx, revoke) => restoreTagWithin(tx, revoke, registry, restore)),
      )
      outcomes.push({ repository, tag, digest, refusal })
    }
    return outcomes
  })
}

async function* tagsOf(
  db: Queryable,
  run: RetentionRun,
): AsyncGenerator<DeletedTag & { readonly repository: RepositoryName }> {
  for (let after = ''; ; ) {
    const repositories = await listRepositoriesOfRun(db, run, { after, limit: PAGE })
    for (const repository of repositories) {
      for (const each of await listTagsOfRun(db, repository, run.since)) {
        yield { ...each, repository }
      }
    }
    const last = repositories.at(-1)
    if (last === undefined || repositories.length < PAGE) return
    after = last
  }
}

async function refusalOf(work: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await work()
    return undefined
  } catch (error) {
    if (error instanceof RegistryError) return error.details.join('; ') || error.message
    throw error
  }
}

import type { Queryable } from '../../storage/metadata/database.ts'
import {
  findManifests,
  type IgnoredTags,
  judgeManifests,
  type Keeping,
  type ManifestId,
  type ReviewedManifest,
} from '../../storage/metadata/liveness.ts'
import type { KeepingTerms } from '../keeping.ts'

export interface Judgement {
  readonly manifest: ReviewedManifest
  readonly keeping: Keeping
}

/**
 * How long manifests stay. Those that are gone are left out; so are those of deleted repositories,
 * which go with them.
 */
export async function judge(
  db: Queryable,
  keeping: KeepingTerms,
  ids: readonly ManifestId[],
  ignored?: IgnoredTags,
): Promise<Judgement[]> {
  const found = (await findManifests(db, ids)).filter((manifest) => !manifest.isRepositoryDeleted)
  const questions = found
    .filter(({ isHosted }) => isHosted)
    .map(({ id, repositoryId, repository }) => {
      return { id, repositoryId, untaggedSeconds: keeping.untagged(repository) }
    })
  const kept = await judgeManifests(db, questions, keeping, ignored)
  return found.flatMap((manifest) => {
    if (manifest.isHosted) {
      const seconds = kept.get(manifest.id)
      return seconds === undefined ? [] : [{ manifest, keeping: seconds }]
    }
    // What was pulled can be pulled again, and goes by other rules as long as nobody deletes it.
    return [{ manifest, keeping: manifest.isDeleted ? 0 : ('named' as const) }]
  })
}

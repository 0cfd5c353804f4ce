import { RegistryError } from '../oci/errors.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import { transaction } from '../storage/metadata/database.ts'
import { lockRepository } from '../storage/metadata/repositories.ts'
import { deleteTag as deleteTagRow, listTags, lockTags } from '../storage/metadata/tags.ts'
import { forgetting } from './metadata-cache.ts'
import { type Page, type PageRequest, pageOf } from './page.ts'
import type { Registry } from './registry.ts'
import { requireRepository } from './repositories.ts'

/**
 * One page of tags in byte order.
 *
 * @throws RegistryError NAME_UNKNOWN
 */
export async function getTags(
  { db }: Registry,
  repository: RepositoryName,
  request: PageRequest,
): Promise<Page<Tag>> {
  return pageOf(request, async (page) => {
    const tags = await listTags(db, repository, page)
    if (tags === undefined) throw new RegistryError('NAME_UNKNOWN', repository)
    return tags
  })
}

/**
 * Deletes a tag; the manifest stays and can be pulled by its digest.
 *
 * @throws RegistryError NAME_UNKNOWN, MANIFEST_UNKNOWN
 */
export async function deleteTag(
  registry: Registry,
  repository: RepositoryName,
  tag: Tag,
  actor: string | undefined,
): Promise<void> {
  const id = await requireRepository(registry, repository)
  const deleted = await forgetting(
    () => registry.cache.forgetTags(repository, [tag]),
    () =>
      transaction(registry.db, async (tx) => {
        await lockRepository(tx, id) // the history of the tag is about to refer to it
        await lockTags(tx, id, [tag])
        return deleteTagRow(tx, id, tag, actor)
      }),
  )
  if (!deleted) throw new RegistryError('MANIFEST_UNKNOWN', `${repository}:${tag}`)
}

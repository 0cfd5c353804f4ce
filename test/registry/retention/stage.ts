import { randomUUID } from 'node:crypto'
import { loadConfig } from '../../../config/config.ts'
import { type Digest, digestOf } from '../../../oci/digest.ts'
import { parseRepositoryName, type RepositoryName } from '../../../oci/reference.ts'
import type { Registry } from '../../../registry/registry.ts'
import { NO_RETENTION } from '../../../registry/retention/retention.ts'
import { RetentionRules } from '../../../registry/retention/rules.ts'
import type { TestRegistry } from '../../support/registry.ts'
import { imageOf, pushBlob, pushManifest } from '../push.ts'

export const DAY = 86_400

/** Rules as a person writes them; those without repositories cover all. */
export function rulesOf(...rules: object[]): RetentionRules {
  const written = rules.map((rule, index) => ({
    name: `r${index + 1}`,
    repositories: ['**'],
    ...rule,
  }))
  const environment = { SLIPWAY_RETENTION_RULES: JSON.stringify(written) }
  return new RetentionRules(loadConfig({ flags: {}, environment })['retention.rules'])
}

/** The same registry with these rules. */
export function ruledBy<R extends Registry>(registry: R, ...rules: object[]): R {
  return { ...registry, retention: { ...NO_RETENTION, rules: rulesOf(...rules) } }
}

/** A name that no other test has. */
export function newRepository(prefix = 'keep'): RepositoryName {
  return parseRepositoryName(`${prefix}/${randomUUID()}`)
}

export interface TagState {
  /** Since it was pushed; 0. */
  readonly days?: number
  /** Since its manifest was pulled; null: never. */
  readonly pulledDays?: number | null
  /** Bytes of its one layer. */
  readonly bytes?: number
}

/** Pushes an image of its own for each tag, and makes them as old as is said. */
export async function pushTags(
  registry: Registry,
  repository: RepositoryName,
  tags: Readonly<Record<string, TagState>>,
): Promise<Record<string, Digest>> {
  const digests: Record<string, Digest> = {}
  for (const [tag, { days = 0, pulledDays = null, bytes = 10 }] of Object.entries(tags)) {
    const layer = await pushBlob(registry, repository, Buffer.alloc(bytes, `${repository}:${tag}`))
    const image = imageOf([layer], `${repository}:${tag}`)
    await pushManifest(registry, repository, image, { reference: tag })
    digests[tag] = digestOf(image)
    await age(registry, repository, tag, { days, pulledDays })
  }
  return digests
}

export async function age(
  { db }: Pick<Registry, 'db'>,
  repository: RepositoryName,
  tag: string,
  { days = 0, pulledDays = null }: TagState,
): Promise<void> {
  await db.query(
    `with aged as (
       update tags t set updated_at = now() - make_interval(secs => $3) from repositories r
       where r.name = $1 and t.repository_id = r.id and t.name = $2
       returning t.manifest_id
     )
     update manifests m set used_at = now() - make_interval(secs => $4)
     from aged where m.id = aged.manifest_id`,
    [repository, tag, days * DAY, pulledDays === null ? null : pulledDays * DAY],
  )
}

/** The names of the repository's tags, in byte order. */
export async function tagsOf(
  { registry }: Pick<TestRegistry, 'registry'>,
  repository: RepositoryName,
): Promise<string[]> {
  const { rows } = await registry.db.query<{ name: string }>(
    `select t.name from tags t join repositories r on r.id = t.repository_id
     where r.name = $1 order by t.name`,
    [repository],
  )
  return rows.map((row) => row.name)
}

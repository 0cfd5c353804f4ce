/* Random content of a registry: what there is, the rows for it, and what somebody selects of it. */
import { randomUUID } from 'node:crypto'
import { type Arbitrary, array, boolean, constantFrom, nat, option, record } from 'fast-check'
import { type Digest, digestOf } from '../../oci/digest.ts'
import {
  parseRepositoryName,
  parseTag,
  type RepositoryName,
  type Tag,
} from '../../oci/reference.ts'
import type { Selection } from '../../registry/sizes.ts'
import type { Pool } from '../../storage/metadata/database.ts'

const BLOBS = 5
const MANIFESTS = 6
const REPOSITORIES = 3

const aBlob = nat(BLOBS - 1)
const aManifest = nat(MANIFESTS - 1)
const aRepository = nat(REPOSITORIES - 1)

const times = <T>(count: number, shape: Arbitrary<T>) =>
  array(shape, { minLength: count, maxLength: count })

/** Edges may lead in circles, and to what is not there. */
const contentShape = record({
  blobs: times(BLOBS, constantFrom('live', 'live', 'live', 'deleting', 'quarantined', 'absent')),
  /** The same one may be in several repositories. */
  manifests: times(
    MANIFESTS,
    record({
      blobs: array(aBlob, { maxLength: 3 }),
      children: array(aManifest, { maxLength: 2 }),
      subject: option(aManifest, { freq: 2 }),
    }),
  ),
  repositories: times(
    REPOSITORIES,
    record({
      kind: constantFrom('hosted', 'hosted', 'hosted', 'cache', 'pinned', 'deleted'),
      holds: times(MANIFESTS, constantFrom('yes', 'yes', 'yes', 'no', 'deleted')),
      links: array(aBlob, { maxLength: 2 }),
      tags: array(record({ names: aManifest, madeOf: option(aManifest) }), { maxLength: 4 }),
    }),
  ),
  leases: array(record({ in: aRepository, blob: option(aBlob), of: aManifest, over: boolean() }), {
    maxLength: 2,
  }),
  selection: record({
    repositories: array(aRepository, { maxLength: 1 }),
    tags: array(record({ of: aRepository, number: nat(3) }), { maxLength: 4 }),
    manifests: array(record({ of: aRepository, number: aManifest }), { maxLength: 2 }),
  }),
})

type Shape = typeof contentShape extends Arbitrary<infer T> ? T : never

interface SomeRepository {
  readonly name: RepositoryName
  readonly kind: string
  readonly links: readonly Digest[]
}

export interface SomeManifest {
  readonly repository: SomeRepository
  readonly digest: Digest
  readonly bytes: number
  readonly blobs: readonly Digest[]
  readonly children: readonly Digest[]
  readonly subject: Digest | undefined
  readonly isDeleted: boolean
}

export interface SomeTag {
  readonly repository: SomeRepository
  readonly name: Tag
  readonly digest: Digest
  /** Of a fallback tag: what its name is made of. */
  readonly madeOf: Digest | undefined
}

export interface Content {
  readonly repositories: readonly SomeRepository[]
  readonly manifests: readonly SomeManifest[]
  readonly tags: readonly SomeTag[]
  readonly blobs: readonly {
    readonly digest: Digest
    readonly bytes: number
    readonly state: string
  }[]
  readonly leases: readonly {
    readonly repository: SomeRepository
    readonly digest: Digest
    readonly isOver: boolean
  }[]
}

/** Names and digests are of this content alone, so that many may share a database. */
export const someContent: Arbitrary<{ content: Content; selection: Selection }> = contentShape.map(
  (shape) => build(shape, randomUUID()),
)

function build(shape: Shape, salt: string): { content: Content; selection: Selection } {
  const blob = (index: number) => digestOf(Buffer.from(`${salt} blob ${index}`))
  const manifest = (index: number) => digestOf(Buffer.from(`${salt} manifest ${index}`))
  const repositories = shape.repositories.map(({ kind, links }, index) => ({
    name: parseRepositoryName(`${salt}/${index}`),
    kind,
    links: [...new Set(links.filter((each) => shape.blobs[each] !== 'absent').map(blob))],
  }))
  const manifests = shape.repositories.flatMap(({ holds }, of) =>
    shape.manifests
      .flatMap(({ blobs, children, subject }, index) => ({
        repository: repositories[of]!,
        digest: manifest(index),
        bytes: 2 ** index,
        blobs: [...new Set(blobs.map(blob))],
        children: [...new Set(children.map(manifest))],
        subject: subject === null ? undefined : manifest(subject),
        isDeleted: holds[index] === 'deleted',
      }))
      .filter((_each, index) => holds[index] !== 'no'),
  )
  const tags = shape.repositories.flatMap((each, of) =>
    each.tags.flatMap(({ names, madeOf }, number): SomeTag[] => {
      if (each.holds[names] !== 'yes') return []
      const repository = repositories[of]!
      const digest = manifest(names)
      if (madeOf === null) {
        return [{ repository, name: parseTag(`t${number}`), digest, madeOf: undefined }]
      }
      const name = parseTag(`${manifest(madeOf).replace(':', '-')}.${number}`)
      return [{ repository, name, digest, madeOf: manifest(madeOf) }]
    }),
  )
  const content: Content = {
    repositories,
    manifests,
    tags,
    blobs: shape.blobs.flatMap((state, index) =>
      state === 'absent' ? [] : [{ digest: blob(index), bytes: 1000 * 2 ** index, state }],
    ),
    leases: shape.leases.map((lease) => ({
      repository: repositories[lease.in]!,
      digest: lease.blob === null ? manifest(lease.of) : blob(lease.blob),
      isOver: lease.over,
    })),
  }
  const { selection } = shape
  return {
    content,
    selection: {
      repositories: selection.repositories.map((index) => repositories[index]!.name),
      tags: selection.tags.flatMap(({ of, number }) => {
        const { name: repository } = repositories[of]!
        const found = tags.filter((each) => each.repository.name === repository)[number]
        return found === undefined ? [] : [{ repository, tag: found.name }]
      }),
      manifests: selection.manifests.map(({ of, number }) => ({
        repository: repositories[of]!.name,
        digest: manifest(number),
      })),
    },
  }
}

/** As JSON, with the repository by its name. */
const named = (all: readonly { readonly repository: SomeRepository }[]) =>
  JSON.stringify(all.map(({ repository, ...rest }) => ({ ...rest, repository: repository.name })))

/** Writes the rows. */
export async function seedContent(db: Pool, content: Content): Promise<void> {
  const { repositories, manifests, tags, blobs, leases } = content
  await db.query(
    `insert into blobs (digest, size_bytes, location, state, problem)
     select e->>'digest', (e->>'bytes')::bigint, '', e->>'state',
       case e->>'state' when 'quarantined' then 'some' end
     from jsonb_array_elements($1) e`,
    [JSON.stringify(blobs)],
  )
  await db.query(
    `insert into repositories (name, kind, upstream, pinned, listed)
     select e->>'name', case when e->>'kind' in ('cache', 'pinned') then 'cache' else 'hosted' end,
       case when e->>'kind' in ('cache', 'pinned') then 'some.example' end, e->>'kind' = 'pinned', true
     from jsonb_array_elements($1) e`,
    [JSON.stringify(repositories)],
  )
  const rows = named(manifests)
  await db.query(
    `insert into manifests
       (repository_id, digest, media_type, subject_digest, bytes, size_bytes, deleted_at)
     select r.id, e->>'digest', '', e->>'subject', '', (e->>'bytes')::int,
       case when (e->>'isDeleted')::boolean then now() end
     from jsonb_array_elements($1) e join repositories r on r.name = e->>'repository'`,
    [rows],
  )
  for (const [table, field] of [
    ['manifest_blobs', 'blobs'],
    ['manifest_children', 'children'],
  ]) {
    await db.query(
      `insert into ${table} (manifest_id, digest, repository_id)
       select m.id, d, r.id
       from jsonb_array_elements($1) e
       join repositories r on r.name = e->>'repository'
       join manifests m on m.repository_id = r.id and m.digest = e->>'digest'
       cross join jsonb_array_elements_text(e->'${field}') d`,
      [rows],
    )
  }
  await db.query(
    `insert into tags (repository_id, name, manifest_id)
     select r.id, e->>'name', m.id
     from jsonb_array_elements($1) e
     join repositories r on r.name = e->>'repository'
     join manifests m on m.repository_id = r.id and m.digest = e->>'digest'`,
    [named(tags)],
  )
  await db.query(
    `insert into leases (repository_id, digest, holder, expires_at)
     select r.id, e->>'digest', gen_random_uuid(),
       now() + case when (e->>'isOver')::boolean then interval '-1 hour' else interval '1 day' end
     from jsonb_array_elements($1) e join repositories r on r.name = e->>'repository'`,
    [named(leases)],
  )
  await db.query(
    `insert into repository_blobs (repository_id, digest)
     select r.id, l
     from jsonb_array_elements($1) e
     join repositories r on r.name = e->>'name'
     cross join jsonb_array_elements_text(e->'links') l`,
    [JSON.stringify(repositories)],
  )
  await db.query(
    `update repositories set name = null, deleted_name = name, deleted_at = now(), listed = false
     where name = any($1)`,
    [repositories.filter(({ kind }) => kind === 'deleted').map(({ name }) => name)],
  )
}

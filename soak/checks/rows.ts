/* What the database says when nothing happens, read past every server. */
import type { Pool } from '../../storage/metadata/database.ts'

interface TagRow {
  readonly repository: string
  readonly tag: string
  readonly digest: string
}

export interface ManifestRow {
  readonly id: string
  /** Null: the repository was deleted. */
  readonly repository: string | null
  readonly digest: string
  readonly subject: string | null
  readonly isDeleted: boolean
  readonly bytes: Buffer
  readonly blobs: readonly string[]
  readonly children: readonly string[]
}

export interface BlobRow {
  readonly digest: string
  readonly location: string
  readonly state: string
  readonly sizeBytes: number
  readonly isNamed: boolean
}

export interface Rows {
  readonly tags: readonly TagRow[]
  readonly manifests: readonly ManifestRow[]
  readonly blobs: readonly BlobRow[]
  /** Repository and digest. */
  readonly links: ReadonlySet<string>
  /** In the catalog. */
  readonly listed: readonly string[]
  /** Ids of upload sessions. */
  readonly sessions: ReadonlySet<string>
  readonly deletedRepositories: readonly string[]
}

export async function readRows(db: Pool): Promise<Rows> {
  const select = async <Row extends object>(text: string) => (await db.query<Row>(text)).rows
  const links = await select<{ link: string }>(
    `select coalesce(r.name, '') || ' ' || l.digest as link
     from repository_blobs l join repositories r on r.id = l.repository_id`,
  )
  const sessions = await select<{ id: string }>('select id from upload_sessions')
  const repositories = await select<{ name: string | null; deleted: string; listed: boolean }>(
    `select name, deleted_name as deleted, listed from repositories order by name collate "C"`,
  )
  return {
    tags: await select<TagRow>(
      `select r.name as repository, t.name as tag, m.digest
       from tags t join repositories r on r.id = t.repository_id
       join manifests m on m.id = t.manifest_id
       where r.name is not null order by 1, t.name collate "C"`,
    ),
    manifests: await select<ManifestRow>(
      `select m.id, r.name as repository, m.digest, m.subject_digest as subject,
         m.deleted_at is not null as "isDeleted", m.bytes,
         array(select digest from manifest_blobs e where e.manifest_id = m.id) as blobs,
         array(select digest from manifest_children e where e.manifest_id = m.id) as children
       from manifests m join repositories r on r.id = m.repository_id`,
    ),
    blobs: await select<BlobRow>(
      `select b.digest, b.location, b.state, b.size_bytes::float8 as "sizeBytes",
         exists (select from manifest_blobs e where e.digest = b.digest) as "isNamed"
       from blobs b`,
    ),
    links: new Set(links.map(({ link }) => link)),
    listed: repositories.flatMap(({ name, listed }) => (listed && name !== null ? [name] : [])),
    sessions: new Set(sessions.map(({ id }) => id)),
    deletedRepositories: repositories.flatMap(({ name, deleted }) =>
      name === null ? [deleted] : [],
    ),
  }
}

import type { Annotations } from '../../oci/descriptor.ts'
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { Queryable } from './database.ts'

export interface Referrer {
  /** Ascends in push order; where the next page goes on. */
  readonly id: string
  readonly digest: Digest
  readonly mediaType: string
  readonly sizeBytes: number
  readonly artifactType: string | null
  readonly annotations: Annotations | null
}

export interface ReferrersPage {
  /** Only these types; all when empty. */
  readonly artifactTypes: readonly string[]
  /** The id of the last referrer seen, '0' to begin. */
  readonly after: string
  readonly limit: number
  /** Of their manifests together, which bounds what is read; one alone may be larger. */
  readonly maxBytes: number
}

/** Manifests of the repository whose subject is `subject`, in the order they were pushed. */
export async function listReferrers(
  db: Queryable,
  repository: RepositoryName,
  subject: Digest,
  { artifactTypes, after, limit, maxBytes }: ReferrersPage,
): Promise<Referrer[]> {
  const { rows } = await db.query<Referrer>({
    name: 'list_referrers',
    text: `select id, digest, "mediaType", "sizeBytes", "artifactType", annotations
           from (
             select m.id, m.digest, m.media_type as "mediaType", m.size_bytes as "sizeBytes",
                    m.artifact_type as "artifactType", m.annotations,
                    sum(m.size_bytes) over (order by m.id) as total
             from repositories r
             join manifests m on m.repository_id = r.id
             where r.name = $1 and m.subject_digest = $2 and m.id > $3 and m.deleted_at is null
               and (cardinality($4::text[]) = 0 or m.artifact_type = any($4))
             order by m.id limit $5
           ) page
           where total <= $6 or total = "sizeBytes"
           order by id`,
    values: [repository, subject, after, artifactTypes, limit, maxBytes],
  })
  return rows
}

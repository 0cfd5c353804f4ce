/* Plans of retention that were shown to somebody, and what runs did. */
import type { Queryable } from './database.ts'

export interface NewRetentionRun {
  readonly kind: 'plan' | 'run'
  readonly actor: string | undefined
  /** Tags that stay. */
  readonly kept: number
  /** Tags; of a plan: to be deleted. */
  readonly deleted: number
  /** That this frees. */
  readonly bytes: number
  readonly document: RunDocument
}

/** What else is known of it. */
export interface RunDocument {
  /** Of the rules that it went by: others make another one. */
  readonly rules: string
  /** The repositories that were looked at, where it was not all. */
  readonly glob?: string | undefined
  /** Some of the tags, each as `repository:tag`. */
  readonly tags: readonly string[]
  /** Whether these are all. */
  readonly isWhole: boolean
  readonly repositories: readonly RepositorySum[]
}

/** A repository with tags that go. */
interface RepositorySum {
  readonly repository: string
  readonly kept: number
  readonly deleted: number
  readonly bytes: number
}

export interface RetentionRun extends Omit<NewRetentionRun, 'document'> {
  /** Digits. */
  readonly id: string
  readonly at: Date
  /** The repositories that were looked at; undefined: all. */
  readonly glob: string | undefined
}

const COLUMNS = `id::text, kind, at, actor, kept, deleted, bytes::float8, document->>'glob' as glob`

type Row = { readonly [Key in keyof RetentionRun]-?: RetentionRun[Key] | null } & Pick<
  RetentionRun,
  'id' | 'kind' | 'at' | 'kept' | 'deleted' | 'bytes'
>

function toRun(row: Row): RetentionRun {
  return { ...row, actor: row.actor ?? undefined, glob: row.glob ?? undefined }
}

export async function insertRetentionRun(
  db: Queryable,
  { kind, actor, kept, deleted, bytes, document }: NewRetentionRun,
): Promise<RetentionRun> {
  const { rows } = await db.query<Row>({
    text: `insert into retention_runs (kind, actor, kept, deleted, bytes, document)
           values ($1, $2, $3, $4, $5, $6) returning ${COLUMNS}`,
    values: [kind, actor, kept, deleted, bytes, document],
  })
  return toRun(rows[0]!)
}

/** One page, the newest first: those with ids below `before`, '' to begin. */
export async function listRetentionRuns(
  db: Queryable,
  page: { readonly before: string; readonly limit: number },
): Promise<RetentionRun[]> {
  const { rows } = await db.query<Row>({
    text: `select ${COLUMNS} from retention_runs r
           where $1::bigint is null or r.id < $1
           order by r.id desc limit $2`,
    values: [page.before === '' ? null : page.before, page.limit],
  })
  return rows.map(toRun)
}

export interface PlanWanted {
  /** {@link RunDocument.rules} */
  readonly rules: string
  readonly glob: string | undefined
  /** Not one that was made since. */
  readonly olderThanSeconds: number
}

/** The last plan of the same rules for the same repositories. */
export async function findLastPlan(
  db: Queryable,
  { rules, glob, olderThanSeconds }: PlanWanted,
): Promise<(RetentionRun & { readonly document: RunDocument }) | undefined> {
  const { rows } = await db.query<Row & { document: RunDocument }>({
    text: `select ${COLUMNS}, document from retention_runs
           where kind = 'plan' and document->>'rules' = $1
             and document->>'glob' is not distinct from $2
             and at <= now() - make_interval(secs => $3)
           order by retention_runs.id desc limit 1`,
    values: [rules, glob, olderThanSeconds],
  })
  const row = rows[0]
  return row === undefined ? undefined : { ...toRun(row), document: row.document }
}

/** Deletes all plans but the newest ones, and all runs but so many. */
export async function pruneRetentionRuns(db: Queryable, keep: number): Promise<void> {
  await db.query({
    text: `delete from retention_runs r
           using (values ('plan'), ('run')) as k (kind)
           where r.kind = k.kind and r.id <= (
             select o.id from retention_runs o where o.kind = k.kind
             order by o.id desc offset $1 limit 1)`,
    values: [keep],
  })
}

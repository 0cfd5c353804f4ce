/* Statements that fill the tables. Nothing is read but what was generated: all follows from ids. */
import {
  BASES,
  BLOCK,
  DEAD_BLOBS,
  HOT,
  hotManifests,
  poolOf,
  REFERRERS,
  SHARED_BLOBS,
  type Size,
  teamsOf,
  UPSTREAM,
} from './content.ts'

/** In the order in which they are to be filled. */
export type Filling = readonly { readonly table: string; readonly statements: readonly string[] }[]

const digest = (text: string) => `'sha256:' || encode(sha256((${text})::bytea), 'hex')`

/** From 0 to below 1, the same for the same numbers. */
const share = (number: string, seed: number) =>
  `((hashint8extended((${number})::bigint, ${seed}) & 1048575) / 1048576.0)`

const IMAGE = 'application/vnd.oci.image.manifest.v1+json'
const INDEX = 'application/vnd.oci.image.index.v1+json'

/** Fills empty tables without indexes, constraints and triggers. */
export function fillingOf(size: Size): Filling {
  return [
    { table: 'repositories', statements: [repositories(size)] },
    { table: 'manifests', statements: [manifests(size)] },
    { table: 'manifest_blobs', statements: [manifestBlobs(size)] },
    { table: 'manifest_children', statements: [MANIFEST_CHILDREN] },
    { table: 'blobs', statements: blobs(size) },
    { table: 'repository_blobs', statements: repositoryBlobs(size) },
    { table: 'tags', statements: tags(size) },
    { table: 'tag_events', statements: TAG_EVENTS },
    { table: 'gc_queue', statements: gcQueue(size) },
    { table: 'leases', statements: [LEASES] },
  ]
}

function repositories(size: Size): string {
  return `
    insert into repositories (id, name, kind, upstream, listed, created_at, deleted_name, deleted_at)
    overriding system value
    select id, case when not gone then name end, case when cached then 'cache' else 'hosted' end,
      case when cached then '${UPSTREAM}' end, not gone, now() - interval '1 year',
      case when gone then name end, case when gone then now() - interval '30 days' end
    from (
      select id, id = ${HOT} or id > ${HOT} and id % 100 = 99 as gone, cached,
        case when id <= ${HOT} then 'hot/repository-' || id
          else case when cached then '${UPSTREAM}/' else '' end
            || 'team-' || id % ${teamsOf(size)} || '/image-' || id end as name
      from generate_series(1, ${size.repositories}) as id
      cross join lateral (select id > ${HOT} and id % 10 = 5 as cached) c
    ) r`
}

/**
 * By its place in the block: 0 may be an index of 1 and 2; 3 is an image, now and then deleted; 4 may
 * refer to 3. A tenth of the repositories begin with the same index and children.
 */
function manifests(size: Size): string {
  const hot = hotManifests(size)
  const others = size.repositories - HOT
  return `
    insert into manifests (id, repository_id, digest, media_type, artifact_type, subject_digest,
      bytes, size_bytes, pushed_at, pushed_by, promised_at, deleted_at)
    overriding system value
    select id, repository, digest, media_type,
      case when subject is not null then 'application/vnd.example.signature' end, subject,
      bytes, length(bytes), at, 'user:pusher', at,
      case when place = 3 and block % 200 = 7 then now() - interval '1 day' end
    from (
      select g.*, case when is_shared then ${digest(`'shared-' || place`)} else ${digest(`'m' || id`)} end as digest,
        case when place <> 4 or block % 3 <> 0 then null
          when block between ${REFERRERS.first} and ${REFERRERS.last} then ${digest(`'m4'`)}
          else ${digest(`'m' || id - 1`)} end as subject,
        convert_to('{"schemaVersion":2,"mediaType":"' || media_type || '","annotations":{"n":"' || id
          || '","text":"' || repeat('x', 200) || '"}}', 'utf8') as bytes,
        now() - interval '200 days' + interval '150 days' * id / ${size.manifests} as at
      from (
        select b.*, case when place = 0 and (is_shared or block % 4 = 0) then '${INDEX}' else '${IMAGE}' end as media_type
        from (
          select id, block, (id - 1) % ${BLOCK} as place, repository,
            repository > ${HOT} and repository % 10 = 0 and id - ${HOT * hot} <= ${others * BLOCK}
              and (id - 1) % ${BLOCK} < 3 as is_shared
          from (
            select id, (id - 1) / ${BLOCK} as block,
              case when id <= ${HOT * hot} then (id - 1) / ${hot} + 1
                when (id - ${HOT * hot} - 1) / ${BLOCK} < ${others}
                  then ${HOT + 1} + (id - ${HOT * hot} - 1) / ${BLOCK}
                else ${HOT + 1} + floor(${others}
                  * power(${share(`(id - 1) / ${BLOCK}`, 1)}, 3))::bigint end as repository
            from generate_series(1::bigint, ${size.manifests}) as id
          ) i
        ) b
      ) g
    ) m
    order by id`
}

const isShared = `m.digest in (${digest(`'shared-0'`)}, ${digest(`'shared-1'`)}, ${digest(`'shared-2'`)})`

/**
 * Each image has a config of its own, a layer with its block, three of five with its repository, some
 * of a pool with other repositories, and a base. Few repositories have most of the pool's first layers.
 */
function manifestBlobs(size: Size): string {
  const pool = poolOf(size)
  // A quarter of the blocks have an index, which names no blob, in one of five places.
  const each = size.edges / size.manifests / (1 - 0.25 / BLOCK)
  const ofPool = Math.max(0, each - 6)
  return `
    insert into manifest_blobs (manifest_id, digest, repository_id)
    select m.id, ${digest('n.name')}, m.repository_id
    from manifests m
    cross join lateral (
      select 'c' || m.id as name
      union all select 'l' || (m.id - 1) / ${BLOCK}
      union all select 'r' || m.repository_id || '-' || (m.id + j) % 5 from generate_series(0, 2) as j
      union all
      select ${poolName(pool, 'm.repository_id', 'k', 'm.id % 3')}
      from generate_series(1, ${Math.floor(ofPool)}
        + (m.id % 100 < ${Math.round((ofPool % 1) * 100)})::int) as k
      union all select 'base-' || ${baseOf('m.repository_id', 'm.id')}
    ) n
    where m.media_type = '${IMAGE}' and not ${isShared}
    union all
    select m.id, ${digest(`m.digest || '-' || k`)}, m.repository_id
    from manifests m cross join generate_series(1, ${SHARED_BLOBS}) as k
    where m.media_type = '${IMAGE}' and ${isShared}`
}

function poolName(pool: number, repository: string, place: string, variant: string): string {
  const first = `floor(${pool} * power(${share(`${repository} * 64 + ${place}`, 2)}, 3))::bigint`
  return `'p' || ${place} || '-' || (${first} + ${variant}) % ${pool}`
}

function baseOf(repository: string, id: string): string {
  const variant = share(`${repository} * 4 + ${id} % 3`, 3)
  const other = `1 + floor(${BASES - 1} * ${share(`${repository} * 4 + ${id} % 3`, 4)})::int`
  return `case when ${repository} <= ${HOT} then case when ${id} % 10 = 0 then 0 else 1 + ${id} % 3 end
    when ${variant} < 0.1 then 0 else ${other} end`
}

const MANIFEST_CHILDREN = `
  insert into manifest_children (manifest_id, digest, repository_id)
  select i.id, c.digest, i.repository_id
  from manifests i join manifests c on c.id in (i.id + 1, i.id + 2)
  where i.media_type = '${INDEX}'`

const named = (names: string) => `
    insert into blobs (digest, size_bytes, location, created_at, verified_at, promised_at)
    select digest, 1000 + (hashtext(digest) & 1048575), 'blobs/' || substr(digest, 8),
      now() - interval '200 days', now() - interval '20 days', now() - interval '30 days'
    from (select ${digest('name')} as digest from (${names}) n) d`

const series = (first: number, last: number) => `generate_series(${first}, ${last}) as n`

function blobs(size: Size): string[] {
  const pool = poolOf(size)
  return [
    named(`select 'c' || n as name from ${series(1, size.manifests)}`),
    named(`select 'l' || n as name from ${series(0, size.manifests / BLOCK - 1)}`),
    named(`
      select 'r' || n || '-' || j as name
      from ${series(1, size.repositories)} cross join generate_series(0, 4) as j`),
    named(`
      select 'p' || k || '-' || n as name
      from ${series(0, pool - 1)} cross join generate_series(1, ${mostOfPool(size)}) as k`),
    named(`select 'base-' || n as name from ${series(0, BASES - 1)}`),
    named(`select 'dead-' || n as name from ${series(1, DEAD_BLOBS)}`),
    named(`
      select ${digest(`'shared-' || j`)} || '-' || n as name
      from ${series(1, SHARED_BLOBS)} cross join generate_series(1, 2) as j`),
  ]
}

function mostOfPool(size: Size): number {
  return Math.ceil(size.edges / size.manifests / (1 - 0.25 / BLOCK)) - 6 + 1
}

const linked = (links: string) => `
    insert into repository_blobs (repository_id, digest, linked_at)
    select repository, ${digest('name')}, now() - interval '200 days' from (${links}) l`

function repositoryBlobs(size: Size): string[] {
  const pool = poolOf(size)
  const repositoriesAll = `generate_series(1::bigint, ${size.repositories}) as repository`
  return [
    linked(`select repository_id as repository, 'c' || id as name from manifests`),
    linked(`
      select distinct repository_id as repository, 'l' || (id - 1) / ${BLOCK} as name
      from manifests`),
    linked(`
      select repository, 'r' || repository || '-' || j as name
      from ${repositoriesAll} cross join generate_series(0, 4) as j`),
    linked(`
      select repository, ${poolName(pool, 'repository', 'k', 'v')} as name
      from ${repositoriesAll} cross join generate_series(1, ${mostOfPool(size)}) as k
      cross join generate_series(0, 2) as v`),
    linked(`
      select distinct repository, 'base-' || ${baseOf('repository', 'v')} as name
      from ${repositoriesAll} cross join generate_series(10, 13) as v`),
    linked(`
      select distinct m.repository_id as repository, m.digest || '-' || k as name
      from manifests m cross join generate_series(1, ${SHARED_BLOBS}) as k
      where m.media_type = '${IMAGE}' and ${isShared}`),
  ]
}

function tags(size: Size): string[] {
  const hot = hotManifests(size)
  const live = `m.deleted_at is null and m.subject_digest is null`
  const insert = `insert into tags (repository_id, name, manifest_id, created_at, updated_at, updated_by)`
  return [
    `${insert}
     select m.repository_id, 'v' || m.id, m.id, m.pushed_at, m.pushed_at, m.pushed_by
     from manifests m
     where ${live} and (m.id <= ${HOT * hot} or (m.id - 1) % ${BLOCK} in (0, 3, 4))`,
    // So that the hot repositories have at least a tenth of the number of manifests.
    `${insert}
     select m.repository_id, 'alias-' || m.id, m.id, m.pushed_at, m.pushed_at, m.pushed_by
     from manifests m
     where ${live} and m.id <= ${HOT * hot} and (m.id - 1) % ${BLOCK} = 3`,
    `${insert}
     select m.repository_id, 'latest', min(m.id), min(m.pushed_at), min(m.pushed_at), 'user:pusher'
     from manifests m where ${live} and (m.id - 1) % ${BLOCK} = 3
     group by m.repository_id`,
  ]
}

const TAG_EVENTS = [
  `insert into tag_events (repository_id, name, to_digest, actor, at)
   select t.repository_id, t.name, m.digest, t.updated_by, t.updated_at
   from tags t join manifests m on m.id = t.manifest_id`,
  // In each repository the tag "latest" has named every other image before, a few of them lately.
  `insert into tag_events (repository_id, name, from_digest, to_digest, actor, at)
   select m.repository_id, 'latest', m.digest, next.digest, 'user:pusher',
     case when m.id % 50 < 5 then now() - interval '2 days' else m.pushed_at end
   from manifests m join manifests next on next.id = m.id + 5 and next.repository_id = m.repository_id
   where (m.id - 1) % ${BLOCK} = 3`,
]

/** What is queued is kept by something: it waits, and some of it is due. */
function gcQueue(size: Size): string[] {
  const insert = `insert into gc_queue (kind, key, reason, queued_at, due_at)`
  return [
    `${insert}
     select 'manifest', m.id::text, 'deleted', now() - interval '1 day', now() + interval '6 days'
     from manifests m where m.deleted_at is not null`,
    `${insert}
     select 'manifest', m.id::text, 'tag moved', now(), now() + interval '1 day'
     from manifests m where (m.id - 1) % ${BLOCK * 5} = 3`,
    `${insert}
     select 'blob', ${digest(`'c' || n`)}, 'manifest deleted', now() - interval '1 hour',
       now() - interval '1 minute'
     from generate_series(1, ${Math.max(200, size.manifests / 50)}) as n`,
    `${insert}
     select 'repository', r.id::text, 'deleted', now() - interval '1 day', now() + interval '1 day'
     from repositories r where r.deleted_at is not null`,
  ]
}

const LEASES = `
  insert into leases (repository_id, digest, holder, expires_at)
  select m.repository_id, m.digest, 'cluster', now() + interval '1 day'
  from manifests m where m.id % 1000 = 0`

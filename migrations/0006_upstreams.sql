-- What is kept of other registries, and where it came from.

-- A cache holds what one upstream has; its name begins with the upstream's.
alter table repositories
  add column upstream text collate "C",   -- null: hosted
  add column pinned boolean not null default false,
  add constraint repositories_upstream_check check ((kind = 'cache') = (upstream is not null));
create index repositories_by_upstream on repositories (upstream, id) where upstream is not null;

-- Of tags in caches: when the upstream last said what they name.
alter table tags
  add column checked_at timestamptz,      -- null: pushed
  add column due boolean not null default false,   -- asked for again at the next pull, however fresh
  add column pinned boolean not null default false;

-- Of content in caches: about when it was last asked for. Written now and then, never by a request.
alter table manifests add column used_at timestamptz;
alter table repository_blobs add column used_at timestamptz;
create index repository_blobs_by_use on repository_blobs (used_at) where used_at is not null;
create index manifests_by_use on manifests (used_at) where used_at is not null;
create index tags_pinned on tags (repository_id) where pinned;
create index blobs_not_live on blobs (digest) where state <> 'live';

-- What is being fetched of upstreams, and blobs whose fetch broke off and may go on. Nobody else fetches the same
-- before claimed_until.
create table fetches (
  upstream      text collate "C" not null,
  kind          text collate "C" not null check (kind in ('blob', 'manifest')),
  digest        text collate "C" not null,
  process       uuid not null,
  claimed_until timestamptz not null,
  repository_id bigint references repositories (id) on delete cascade,
  upload_id     uuid,                     -- the session that takes the bytes
  size_bytes    bigint,                   -- as the upstream said
  growing       boolean not null default false,  -- who has the claim now writes to upload_id
  created_at    timestamptz not null default now(),
  primary key (digest, kind, upstream)
);
create index fetches_by_claim on fetches (claimed_until);

-- Upstreams that were added by command; those of the configuration file are not here.
create table upstreams (
  name       text collate "C" primary key,
  definition jsonb not null,
  created_at timestamptz not null default now()
);

-- What was asked of each upstream, summed over all processes, and how it is doing.
create table upstream_activity (
  name            text collate "C" primary key,
  hits            bigint not null default 0,   -- answered from what was kept
  misses          bigint not null default 0,   -- had to be fetched
  stale           bigint not null default 0,   -- answered from what was kept, as the upstream failed
  fetched_bytes   bigint not null default 0,
  served_bytes    bigint not null default 0,   -- of blobs and manifests, whatever their source
  evicted_bytes   bigint not null default 0,
  budget_limit    integer,                     -- requests in its window, as the upstream tells
  budget_left     integer,
  budget_at       timestamptz,
  broken_until    timestamptz,                 -- not asked before
  last_error      text,
  last_error_at   timestamptz
);

-- Repositories, the blobs each may serve, manifests with what they refer to, and tags.
-- Names and digests compare byte by byte (collate "C"): that is the order of every page.

create table repositories (
  id          bigint generated always as identity primary key,
  name        text collate "C" not null unique,
  kind        text not null default 'hosted' check (kind in ('hosted', 'cache')),
  listed      boolean not null default false,  -- whether it holds a manifest: the catalog shows it
  created_at  timestamptz not null default now()
);
create index repositories_listed on repositories (name) where listed;

-- One row for each blob in the store, whichever repositories use it.
create table blobs (
  digest       text collate "C" primary key,
  size_bytes   bigint not null check (size_bytes >= 0),
  location     text not null,  -- where the bytes lie; only the storage driver reads it
  state        text not null default 'live' check (state in ('live', 'deleting', 'quarantined')),
  created_at   timestamptz not null default now(),
  verified_at  timestamptz not null default now()
);

-- Visibility: a repository serves only the blobs linked to it. A digest is no permission to read.
create table repository_blobs (
  repository_id  bigint not null references repositories on delete cascade,
  digest         text collate "C" not null references blobs,
  linked_at      timestamptz not null default now(),
  primary key (repository_id, digest)
);
create index repository_blobs_by_digest on repository_blobs (digest);

create table manifests (
  id              bigint generated always as identity primary key,  -- ascends in push order
  repository_id   bigint not null references repositories on delete cascade,
  digest          text collate "C" not null,  -- in the algorithm it was pushed with
  media_type      text not null,
  artifact_type   text,
  subject_digest  text collate "C",           -- set on a referrer; the subject need not exist
  bytes           bytea not null,             -- exactly as pushed: the digest is of these bytes
  size_bytes      integer not null,
  annotations     jsonb,
  pushed_at       timestamptz not null default now(),
  pushed_by       text,
  unique (repository_id, digest)
);
alter table manifests alter column bytes set storage external;  -- small JSON: not worth compressing
create index manifests_by_subject on manifests (repository_id, subject_digest, id)
  where subject_digest is not null;

-- Liveness: what keeps a blob, and what keeps a manifest that an index lists. By digest, not by
-- foreign key: layers that may not be distributed, and children of a cached index, can be absent.
create table manifest_blobs (
  manifest_id  bigint not null references manifests on delete cascade,
  digest       text collate "C" not null,
  primary key (manifest_id, digest)
);
create index manifest_blobs_by_digest on manifest_blobs (digest);

create table manifest_children (
  manifest_id  bigint not null references manifests on delete cascade,
  digest       text collate "C" not null,
  primary key (manifest_id, digest)
);
create index manifest_children_by_digest on manifest_children (digest);

create table tags (
  repository_id  bigint not null references repositories on delete cascade,
  name           text collate "C" not null,
  manifest_id    bigint not null references manifests on delete cascade,
  created_at     timestamptz not null default now(),
  updated_at     timestamptz not null default now(),
  updated_by     text,
  primary key (repository_id, name)
);
create index tags_by_manifest on tags (manifest_id);

-- Who moved what, from where to where, when. Append-only, and written by a trigger, so that no
-- statement can move a tag without leaving a trace. from_digest is null for a new tag,
-- to_digest for a deleted one.
create table tag_events (
  id             bigint generated always as identity primary key,
  repository_id  bigint not null references repositories on delete cascade,
  name           text collate "C" not null,
  from_digest    text collate "C",
  to_digest      text collate "C",
  actor          text,
  at             timestamptz not null default now()
);
create index tag_events_by_tag on tag_events (repository_id, name, id);

create function record_tag_event() returns trigger language plpgsql as $$
declare
  before_digest text;
  after_digest text;
begin
  if tg_op <> 'INSERT' then
    select digest into before_digest from manifests where id = old.manifest_id;
  end if;
  if tg_op = 'DELETE' then
    -- A repository that is being deleted takes its history with it.
    if exists (select from repositories where id = old.repository_id) then
      insert into tag_events (repository_id, name, from_digest, actor)
      values (old.repository_id, old.name, before_digest,
              nullif(current_setting('slipway.actor', true), ''));
    end if;
    return null;
  end if;
  select digest into after_digest from manifests where id = new.manifest_id;
  if before_digest is distinct from after_digest then
    insert into tag_events (repository_id, name, from_digest, to_digest, actor)
    values (new.repository_id, new.name, before_digest, after_digest, new.updated_by);
  end if;
  return null;
end
$$;

create trigger tags_record_event after insert or update or delete on tags
  for each row execute function record_tag_event();

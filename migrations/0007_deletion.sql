-- What frees space and what can be undone: what has to be looked at, what keeps it, and until when.

-- A deleted repository loses its name and keeps the rest as long as it can be restored.
alter table repositories
  alter column name drop not null,
  add column deleted_name text collate "C",
  add column deleted_at timestamptz,
  add column deleted_by text,
  add column forgotten_before timestamptz,   -- what was deleted before cannot be restored any more
  add constraint repositories_deleted_check check (
    (name is null) = (deleted_at is not null) and (deleted_name is null) = (deleted_at is null)
    and not (kind = 'cache' and name is null));
create index repositories_deleted on repositories (deleted_name, deleted_at) where deleted_at is not null;
create index repositories_pinned on repositories (id) where pinned;

-- A layer may be in a hundred thousand repositories, of which a mount looks at a few.
drop index repository_blobs_by_digest;
create index repository_blobs_by_digest on repository_blobs (digest, repository_id);

-- Somebody was told then that it is here, and may be about to name it in a manifest.
alter table blobs
  add column promised_at timestamptz not null default now(),
  add column quarantined_at timestamptz,
  add column problem text,                   -- what was found wrong with the bytes
  add constraint blobs_quarantined_check check ((state = 'quarantined') <= (problem is not null));
create index blobs_by_verification on blobs (verified_at, digest) where state = 'live';
create index blobs_by_location on blobs using hash (location);

alter table manifests
  add column promised_at timestamptz not null default now(),
  add column deleted_at timestamptz;         -- by its digest: nobody sees it, and it can be restored
create index manifests_deleted on manifests (repository_id, deleted_at) where deleted_at is not null;

-- A layer may be in a million manifests, of which few are in one repository.
alter table manifest_blobs add column repository_id bigint;
update manifest_blobs e set repository_id = m.repository_id from manifests m where m.id = e.manifest_id;
alter table manifest_blobs alter column repository_id set not null;
create index manifest_blobs_by_use on manifest_blobs (digest, repository_id);
drop index manifest_blobs_by_digest;
alter table manifest_children add column repository_id bigint;
update manifest_children e set repository_id = m.repository_id from manifests m where m.id = e.manifest_id;
alter table manifest_children alter column repository_id set not null;
create index manifest_children_by_use on manifest_children (repository_id, digest);
drop index manifest_children_by_digest;

-- Why a tag was moved or deleted when nobody asked for that tag: 'garbage', 'retention', 'restore'.
alter table tag_events add column cause text collate "C";
create index tag_events_by_source on tag_events (repository_id, from_digest, at)
  where from_digest is not null and cause is distinct from 'garbage';
create index tag_events_by_repository on tag_events (repository_id, id);

-- Keeps a manifest or a blob whatever else happens, until it expires.
create table leases (
  id             bigint generated always as identity primary key,
  repository_id  bigint not null references repositories on delete cascade,
  digest         text collate "C" not null,
  holder         text collate "C" not null,  -- who needs it, as that one calls itself
  expires_at     timestamptz not null,
  created_at     timestamptz not null default now(),
  created_by     text,
  unique (repository_id, digest, holder)
);
create index leases_by_digest on leases (digest);
create index leases_by_expiry on leases (expires_at);

-- What may be garbage, to be looked at when it is due. It says nothing about whether it is. There may be
-- several rows of one thing: who adds one waits for nobody, in whatever order, so that no two can deadlock.
create table gc_queue (
  id             bigint generated always as identity primary key,
  kind           text collate "C" not null check (kind in ('manifest', 'blob', 'repository')),
  key            text collate "C" not null,  -- the id of a manifest or a repository, the digest of a blob
  reason         text not null,
  queued_at      timestamptz not null default now(),
  due_at         timestamptz not null default now(),
  attempts       integer not null default 0, -- that failed
  claimed_until  timestamptz,
  last_error     text
);
create index gc_queue_by_due on gc_queue (due_at, id);
create index gc_queue_by_key on gc_queue (kind, key);

-- What was freed, by day.
create table gc_days (
  day        date primary key,
  manifests  bigint not null default 0,
  blobs      bigint not null default 0,
  bytes      bigint not null default 0       -- of these blobs
);

-- Work that one process at a time does, every so often.
create table periodic_work (
  name           text collate "C" primary key,
  claimed_by     uuid,
  claimed_until  timestamptz,
  finished_at    timestamptz,
  state          jsonb not null default '{}'
);

-- Plans of retention that were shown to somebody, and what runs did.
create table retention_runs (
  id        bigint generated always as identity primary key,
  kind      text collate "C" not null check (kind in ('plan', 'run')),
  at        timestamptz not null default now(),
  actor     text,
  kept      integer not null,                -- tags
  deleted   integer not null,                -- tags; of a plan: to be deleted
  bytes     bigint not null,                 -- that this frees
  document  jsonb not null default '{}'      -- what it takes to tell the difference to the next one
);
create index retention_runs_by_kind on retention_runs (kind, id);

create function queue_unnamed_blobs() returns trigger language plpgsql as $$
begin
  insert into gc_queue (kind, key, reason)
  select distinct 'blob', digest, 'manifest deleted' from gone;
  return null;
end
$$;

create trigger manifest_blobs_queue after delete on manifest_blobs
  referencing old table as gone for each statement execute function queue_unnamed_blobs();

create or replace function record_tag_event() returns trigger language plpgsql as $$
declare
  before_digest text;
  after_digest text;
  cause text := nullif(current_setting('slipway.cause', true), '');
begin
  if tg_op <> 'INSERT' then
    select digest into before_digest from manifests where id = old.manifest_id;
  end if;
  if tg_op = 'DELETE' then
    -- A repository that goes takes its history with it.
    if exists (select from repositories where id = old.repository_id and name is not null) then
      insert into tag_events (repository_id, name, from_digest, actor, cause)
      values (old.repository_id, old.name, before_digest,
              nullif(current_setting('slipway.actor', true), ''), cause);
    end if;
  else
    select digest into after_digest from manifests where id = new.manifest_id;
    if before_digest is distinct from after_digest then
      insert into tag_events (repository_id, name, from_digest, to_digest, actor, cause)
      values (new.repository_id, new.name, before_digest, after_digest, new.updated_by, cause);
    end if;
  end if;
  if tg_op <> 'INSERT' and before_digest is distinct from after_digest and before_digest is not null
     and exists (select from repositories
                 where id = old.repository_id and kind = 'hosted' and name is not null) then
    insert into gc_queue (kind, key, reason)
    values ('manifest', old.manifest_id::text,
            case tg_op when 'DELETE' then 'tag deleted' else 'tag moved' end);
  end if;
  return null;
end
$$;

-- For servers of the version before, which run beside new ones while they are replaced one by one.
create function fill_edge_repository() returns trigger language plpgsql as $$
begin
  select repository_id into new.repository_id from manifests where id = new.manifest_id;
  return new;
end
$$;

-- They find what was deleted, and a client that they tell so lists it without pushing it again.
create function fill_child() returns trigger language plpgsql as $$
begin
  select repository_id into new.repository_id from manifests where id = new.manifest_id;
  update manifests set deleted_at = null, promised_at = now()
  where repository_id = new.repository_id and digest = new.digest and deleted_at is not null;
  return new;
end
$$;

-- What they push is there again, and so is a blob that was being deleted; they write neither down.
create function revive_manifest() returns trigger language plpgsql as $$
begin
  new.deleted_at := null;
  new.promised_at := now();
  return new;
end
$$;

create function revive_blob() returns trigger language plpgsql as $$
begin
  new.promised_at := now();
  return new;
end
$$;

create trigger manifests_revive before update of media_type on manifests
  for each row when (new.promised_at = old.promised_at) execute function revive_manifest();
create trigger blobs_revive before update of state on blobs
  for each row when (new.state = 'live' and new.promised_at = old.promised_at)
  execute function revive_blob();
create trigger manifest_blobs_fill before insert on manifest_blobs
  for each row when (new.repository_id is null) execute function fill_edge_repository();
create trigger manifest_children_fill before insert on manifest_children
  for each row when (new.repository_id is null) execute function fill_child();

-- What the migrations make, in full. Written by npm run schema.

CREATE OR REPLACE FUNCTION public.fill_child()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  select repository_id into new.repository_id from manifests where id = new.manifest_id;
  update manifests set deleted_at = null, promised_at = now()
  where repository_id = new.repository_id and digest = new.digest and deleted_at is not null;
  return new;
end
$function$;

CREATE OR REPLACE FUNCTION public.fill_edge_repository()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  select repository_id into new.repository_id from manifests where id = new.manifest_id;
  return new;
end
$function$;

CREATE OR REPLACE FUNCTION public.queue_unnamed_blobs()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  insert into gc_queue (kind, key, reason)
  select distinct 'blob', digest, 'manifest deleted' from gone;
  return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.record_tag_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.refuse_audit_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  if tg_op = 'DELETE' and current_setting('slipway.prunes_audit', true) = 'on' then
    return old;
  end if;
  raise exception 'audit events are not changed';
end
$function$;

CREATE OR REPLACE FUNCTION public.revive_blob()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  new.promised_at := now();
  return new;
end
$function$;

CREATE OR REPLACE FUNCTION public.revive_manifest()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  new.deleted_at := null;
  new.promised_at := now();
  return new;
end
$function$;

create table access_version (
  singleton boolean default true not null,
  version bigint default 1 not null,
  constraint access_version_pkey PRIMARY KEY (singleton),
  constraint access_version_singleton_check CHECK (singleton)
);

create table accounts (
  id bigint generated always as identity not null,
  kind text not null,
  name text collate "C" not null,
  description text default ''::text not null,
  password_hash text,
  secret_hash bytea,
  admin boolean default false not null,
  disabled boolean default false not null,
  generation integer default 1 not null,
  expires_at timestamp with time zone,
  last_used_at timestamp with time zone,
  created_at timestamp with time zone default now() not null,
  created_by text,
  constraint accounts_pkey PRIMARY KEY (id),
  constraint accounts_name_key UNIQUE (name),
  constraint accounts_secret_hash_key UNIQUE (secret_hash),
  constraint accounts_check CHECK (((kind = 'user'::text) OR (password_hash IS NULL))),
  constraint accounts_check1 CHECK (((kind = 'robot'::text) = (secret_hash IS NOT NULL))),
  constraint accounts_kind_check CHECK ((kind = ANY (ARRAY['user'::text, 'robot'::text])))
);

create table audit_events (
  id bigint generated always as identity not null,
  at timestamp with time zone default now() not null,
  actor text collate "C",
  action text collate "C" not null,
  repository text collate "C",
  target text,
  result text not null,
  address text,
  request_id text,
  detail text,
  constraint audit_events_pkey PRIMARY KEY (id),
  constraint audit_events_result_check CHECK ((result = ANY (ARRAY['done'::text, 'denied'::text, 'failed'::text])))
);
CREATE INDEX audit_events_by_action ON public.audit_events USING btree (action, id);
CREATE INDEX audit_events_by_actor ON public.audit_events USING btree (actor, id);
CREATE INDEX audit_events_by_age ON public.audit_events USING btree (at);
CREATE INDEX audit_events_by_repository ON public.audit_events USING btree (repository, id);
CREATE TRIGGER audit_events_append_only BEFORE DELETE OR UPDATE ON public.audit_events FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();

create table blobs (
  digest text collate "C" not null,
  size_bytes bigint not null,
  location text not null,
  state text default 'live'::text not null,
  created_at timestamp with time zone default now() not null,
  verified_at timestamp with time zone default now() not null,
  promised_at timestamp with time zone default now() not null,
  quarantined_at timestamp with time zone,
  problem text,
  constraint blobs_pkey PRIMARY KEY (digest),
  constraint blobs_quarantined_check CHECK (((state = 'quarantined'::text) <= (problem IS NOT NULL))),
  constraint blobs_size_bytes_check CHECK ((size_bytes >= 0)),
  constraint blobs_state_check CHECK ((state = ANY (ARRAY['live'::text, 'deleting'::text, 'quarantined'::text])))
);
CREATE INDEX blobs_by_location ON public.blobs USING hash (location);
CREATE INDEX blobs_by_verification ON public.blobs USING btree (verified_at, digest) WHERE (state = 'live'::text);
CREATE INDEX blobs_not_live ON public.blobs USING btree (digest) WHERE (state <> 'live'::text);
CREATE TRIGGER blobs_revive BEFORE UPDATE OF state ON public.blobs FOR EACH ROW WHEN (((new.state = 'live'::text) AND (new.promised_at = old.promised_at))) EXECUTE FUNCTION revive_blob();

create table credentials (
  id uuid not null,
  kind text not null,
  account_id bigint,
  parent_id uuid,
  subject text not null,
  name text default ''::text not null,
  secret_hash bytea not null,
  coverage jsonb,
  generation integer,
  revision text,
  created_at timestamp with time zone default now() not null,
  expires_at timestamp with time zone,
  last_used_at timestamp with time zone,
  followed boolean default false not null,
  constraint credentials_pkey PRIMARY KEY (id),
  constraint credentials_secret_hash_key UNIQUE (secret_hash),
  constraint credentials_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id) ON DELETE CASCADE,
  constraint credentials_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES credentials(id) ON DELETE CASCADE,
  constraint credentials_check CHECK (((kind = 'keyless'::text) = (account_id IS NULL))),
  constraint credentials_kind_check CHECK ((kind = ANY (ARRAY['personal'::text, 'identity'::text, 'keyless'::text])))
);
CREATE INDEX credentials_by_account ON public.credentials USING btree (account_id, kind, created_at);
CREATE INDEX credentials_by_expiry ON public.credentials USING btree (expires_at);
CREATE INDEX credentials_by_parent ON public.credentials USING btree (parent_id);
CREATE UNIQUE INDEX credentials_names ON public.credentials USING btree (account_id, name) WHERE (kind = 'personal'::text);

create table fetches (
  upstream text collate "C" not null,
  kind text collate "C" not null,
  digest text collate "C" not null,
  process uuid not null,
  claimed_until timestamp with time zone not null,
  repository_id bigint,
  upload_id uuid,
  size_bytes bigint,
  growing boolean default false not null,
  created_at timestamp with time zone default now() not null,
  constraint fetches_pkey PRIMARY KEY (digest, kind, upstream),
  constraint fetches_repository_id_fkey FOREIGN KEY (repository_id) REFERENCES repositories(id) ON DELETE CASCADE,
  constraint fetches_kind_check CHECK ((kind = ANY (ARRAY['blob'::text, 'manifest'::text])))
);
CREATE INDEX fetches_by_claim ON public.fetches USING btree (claimed_until);

create table gc_days (
  day date not null,
  manifests bigint default 0 not null,
  blobs bigint default 0 not null,
  bytes bigint default 0 not null,
  constraint gc_days_pkey PRIMARY KEY (day)
);

create table gc_queue (
  id bigint generated always as identity not null,
  kind text collate "C" not null,
  key text collate "C" not null,
  reason text not null,
  queued_at timestamp with time zone default now() not null,
  due_at timestamp with time zone default now() not null,
  attempts integer default 0 not null,
  claimed_until timestamp with time zone,
  last_error text,
  constraint gc_queue_pkey PRIMARY KEY (id),
  constraint gc_queue_kind_check CHECK ((kind = ANY (ARRAY['manifest'::text, 'blob'::text, 'repository'::text])))
);
CREATE INDEX gc_queue_by_due ON public.gc_queue USING btree (due_at, id);
CREATE INDEX gc_queue_by_key ON public.gc_queue USING btree (kind, key);

create table grants (
  id bigint generated always as identity not null,
  effect text not null,
  subject text collate "C" not null,
  repositories text[] not null,
  tags text[],
  actions text[] not null,
  description text default ''::text not null,
  created_at timestamp with time zone default now() not null,
  created_by text,
  constraint grants_pkey PRIMARY KEY (id),
  constraint grants_effect_check CHECK ((effect = ANY (ARRAY['allow'::text, 'deny'::text])))
);
CREATE INDEX grants_by_subject ON public.grants USING btree (subject, id);

create table group_members (
  group_id bigint not null,
  account_id bigint not null,
  constraint group_members_pkey PRIMARY KEY (group_id, account_id),
  constraint group_members_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id) ON DELETE CASCADE,
  constraint group_members_group_id_fkey FOREIGN KEY (group_id) REFERENCES groups(id) ON DELETE CASCADE
);
CREATE INDEX group_members_by_account ON public.group_members USING btree (account_id);

create table groups (
  id bigint generated always as identity not null,
  name text collate "C" not null,
  description text default ''::text not null,
  created_at timestamp with time zone default now() not null,
  created_by text,
  constraint groups_pkey PRIMARY KEY (id),
  constraint groups_name_key UNIQUE (name)
);

create table leases (
  id bigint generated always as identity not null,
  repository_id bigint not null,
  digest text collate "C" not null,
  holder text collate "C" not null,
  expires_at timestamp with time zone not null,
  created_at timestamp with time zone default now() not null,
  created_by text,
  constraint leases_pkey PRIMARY KEY (id),
  constraint leases_repository_id_digest_holder_key UNIQUE (repository_id, digest, holder),
  constraint leases_repository_id_fkey FOREIGN KEY (repository_id) REFERENCES repositories(id) ON DELETE CASCADE
);
CREATE INDEX leases_by_digest ON public.leases USING btree (digest);
CREATE INDEX leases_by_expiry ON public.leases USING btree (expires_at);

create table login_failures (
  key text collate "C" not null,
  failures integer not null,
  last_at timestamp with time zone not null,
  locked_until timestamp with time zone,
  constraint login_failures_pkey PRIMARY KEY (key)
);
CREATE INDEX login_failures_by_age ON public.login_failures USING btree (last_at);

create table manifest_blobs (
  manifest_id bigint not null,
  digest text collate "C" not null,
  repository_id bigint not null,
  constraint manifest_blobs_pkey PRIMARY KEY (manifest_id, digest),
  constraint manifest_blobs_manifest_id_fkey FOREIGN KEY (manifest_id) REFERENCES manifests(id) ON DELETE CASCADE
);
CREATE INDEX manifest_blobs_by_use ON public.manifest_blobs USING btree (digest, repository_id);
CREATE TRIGGER manifest_blobs_fill BEFORE INSERT ON public.manifest_blobs FOR EACH ROW WHEN ((new.repository_id IS NULL)) EXECUTE FUNCTION fill_edge_repository();
CREATE TRIGGER manifest_blobs_queue AFTER DELETE ON public.manifest_blobs REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION queue_unnamed_blobs();

create table manifest_children (
  manifest_id bigint not null,
  digest text collate "C" not null,
  repository_id bigint not null,
  constraint manifest_children_pkey PRIMARY KEY (manifest_id, digest),
  constraint manifest_children_manifest_id_fkey FOREIGN KEY (manifest_id) REFERENCES manifests(id) ON DELETE CASCADE
);
CREATE INDEX manifest_children_by_use ON public.manifest_children USING btree (repository_id, digest);
CREATE TRIGGER manifest_children_fill BEFORE INSERT ON public.manifest_children FOR EACH ROW WHEN ((new.repository_id IS NULL)) EXECUTE FUNCTION fill_child();

create table manifests (
  id bigint generated always as identity not null,
  repository_id bigint not null,
  digest text collate "C" not null,
  media_type text not null,
  artifact_type text,
  subject_digest text collate "C",
  bytes bytea storage external not null,
  size_bytes integer not null,
  annotations jsonb,
  pushed_at timestamp with time zone default now() not null,
  pushed_by text,
  used_at timestamp with time zone,
  promised_at timestamp with time zone default now() not null,
  deleted_at timestamp with time zone,
  constraint manifests_pkey PRIMARY KEY (id),
  constraint manifests_repository_id_digest_key UNIQUE (repository_id, digest),
  constraint manifests_repository_id_fkey FOREIGN KEY (repository_id) REFERENCES repositories(id) ON DELETE CASCADE
);
CREATE INDEX manifests_by_subject ON public.manifests USING btree (repository_id, subject_digest, id) WHERE (subject_digest IS NOT NULL);
CREATE INDEX manifests_by_use ON public.manifests USING btree (used_at) WHERE (used_at IS NOT NULL);
CREATE INDEX manifests_deleted ON public.manifests USING btree (repository_id, deleted_at) WHERE (deleted_at IS NOT NULL);
CREATE TRIGGER manifests_revive BEFORE UPDATE OF media_type ON public.manifests FOR EACH ROW WHEN ((new.promised_at = old.promised_at)) EXECUTE FUNCTION revive_manifest();

create table migrations (
  version integer not null,
  checksum text not null,
  applied_at timestamp with time zone default now() not null,
  constraint migrations_pkey PRIMARY KEY (version)
);

create table periodic_work (
  name text collate "C" not null,
  claimed_by uuid,
  claimed_until timestamp with time zone,
  finished_at timestamp with time zone,
  state jsonb default '{}'::jsonb not null,
  constraint periodic_work_pkey PRIMARY KEY (name)
);

create table repositories (
  id bigint generated always as identity not null,
  name text collate "C",
  kind text default 'hosted'::text not null,
  listed boolean default false not null,
  created_at timestamp with time zone default now() not null,
  upstream text collate "C",
  pinned boolean default false not null,
  deleted_name text collate "C",
  deleted_at timestamp with time zone,
  deleted_by text,
  forgotten_before timestamp with time zone,
  constraint repositories_pkey PRIMARY KEY (id),
  constraint repositories_name_key UNIQUE (name),
  constraint repositories_deleted_check CHECK ((((name IS NULL) = (deleted_at IS NOT NULL)) AND ((deleted_name IS NULL) = (deleted_at IS NULL)) AND (NOT ((kind = 'cache'::text) AND (name IS NULL))))),
  constraint repositories_kind_check CHECK ((kind = ANY (ARRAY['hosted'::text, 'cache'::text]))),
  constraint repositories_upstream_check CHECK (((kind = 'cache'::text) = (upstream IS NOT NULL)))
);
CREATE INDEX repositories_by_upstream ON public.repositories USING btree (upstream, id) WHERE (upstream IS NOT NULL);
CREATE INDEX repositories_deleted ON public.repositories USING btree (deleted_name, deleted_at) WHERE (deleted_at IS NOT NULL);
CREATE INDEX repositories_listed ON public.repositories USING btree (name) WHERE listed;
CREATE INDEX repositories_pinned ON public.repositories USING btree (id) WHERE pinned;

create table repository_blobs (
  repository_id bigint not null,
  digest text collate "C" not null,
  linked_at timestamp with time zone default now() not null,
  used_at timestamp with time zone,
  constraint repository_blobs_pkey PRIMARY KEY (repository_id, digest),
  constraint repository_blobs_digest_fkey FOREIGN KEY (digest) REFERENCES blobs(digest),
  constraint repository_blobs_repository_id_fkey FOREIGN KEY (repository_id) REFERENCES repositories(id) ON DELETE CASCADE
);
CREATE INDEX repository_blobs_by_digest ON public.repository_blobs USING btree (digest, repository_id);
CREATE INDEX repository_blobs_by_use ON public.repository_blobs USING btree (used_at) WHERE (used_at IS NOT NULL);

create table retention_runs (
  id bigint generated always as identity not null,
  kind text collate "C" not null,
  at timestamp with time zone default now() not null,
  actor text,
  kept integer not null,
  deleted integer not null,
  bytes bigint not null,
  document jsonb default '{}'::jsonb not null,
  constraint retention_runs_pkey PRIMARY KEY (id),
  constraint retention_runs_kind_check CHECK ((kind = ANY (ARRAY['plan'::text, 'run'::text])))
);
CREATE INDEX retention_runs_by_kind ON public.retention_runs USING btree (kind, id);

create table signing_keys (
  id text not null,
  private_jwk jsonb not null,
  created_at timestamp with time zone default now() not null,
  constraint signing_keys_pkey PRIMARY KEY (id)
);

create table tag_events (
  id bigint generated always as identity not null,
  repository_id bigint not null,
  name text collate "C" not null,
  from_digest text collate "C",
  to_digest text collate "C",
  actor text,
  at timestamp with time zone default now() not null,
  cause text collate "C",
  constraint tag_events_pkey PRIMARY KEY (id),
  constraint tag_events_repository_id_fkey FOREIGN KEY (repository_id) REFERENCES repositories(id) ON DELETE CASCADE
);
CREATE INDEX tag_events_by_repository ON public.tag_events USING btree (repository_id, id);
CREATE INDEX tag_events_by_source ON public.tag_events USING btree (repository_id, from_digest, at) WHERE ((from_digest IS NOT NULL) AND (cause IS DISTINCT FROM 'garbage'::text));
CREATE INDEX tag_events_by_tag ON public.tag_events USING btree (repository_id, name, id);

create table tags (
  repository_id bigint not null,
  name text collate "C" not null,
  manifest_id bigint not null,
  created_at timestamp with time zone default now() not null,
  updated_at timestamp with time zone default now() not null,
  updated_by text,
  checked_at timestamp with time zone,
  due boolean default false not null,
  pinned boolean default false not null,
  constraint tags_pkey PRIMARY KEY (repository_id, name),
  constraint tags_manifest_id_fkey FOREIGN KEY (manifest_id) REFERENCES manifests(id) ON DELETE CASCADE,
  constraint tags_repository_id_fkey FOREIGN KEY (repository_id) REFERENCES repositories(id) ON DELETE CASCADE
);
CREATE INDEX tags_by_manifest ON public.tags USING btree (manifest_id);
CREATE INDEX tags_pinned ON public.tags USING btree (repository_id) WHERE pinned;
CREATE TRIGGER tags_record_event AFTER INSERT OR DELETE OR UPDATE ON public.tags FOR EACH ROW EXECUTE FUNCTION record_tag_event();

create table upload_sessions (
  id uuid not null,
  repository_id bigint,
  owner text,
  algorithm text default 'sha256'::text not null,
  offset_bytes bigint default 0 not null,
  driver_state jsonb not null,
  digest text,
  writer uuid,
  writer_until timestamp with time zone,
  contested boolean default false not null,
  started_at timestamp with time zone default now() not null,
  expires_at timestamp with time zone not null,
  tail bytea storage external,
  hash_state bytea,
  leftovers boolean default false not null,
  constraint upload_sessions_pkey PRIMARY KEY (id),
  constraint upload_sessions_repository_id_fkey FOREIGN KEY (repository_id) REFERENCES repositories(id) ON DELETE SET NULL,
  constraint upload_sessions_offset_bytes_check CHECK ((offset_bytes >= 0))
);
CREATE INDEX upload_sessions_by_expiry ON public.upload_sessions USING btree (expires_at);

create table upstream_activity (
  name text collate "C" not null,
  hits bigint default 0 not null,
  misses bigint default 0 not null,
  stale bigint default 0 not null,
  fetched_bytes bigint default 0 not null,
  served_bytes bigint default 0 not null,
  evicted_bytes bigint default 0 not null,
  budget_limit integer,
  budget_left integer,
  budget_at timestamp with time zone,
  broken_until timestamp with time zone,
  last_error text,
  last_error_at timestamp with time zone,
  constraint upstream_activity_pkey PRIMARY KEY (name)
);

create table upstreams (
  name text collate "C" not null,
  definition jsonb not null,
  created_at timestamp with time zone default now() not null,
  constraint upstreams_pkey PRIMARY KEY (name)
);

create table used_assertions (
  hash bytea not null,
  expires_at timestamp with time zone not null,
  constraint used_assertions_pkey PRIMARY KEY (hash)
);
CREATE INDEX used_assertions_by_expiry ON public.used_assertions USING btree (expires_at);

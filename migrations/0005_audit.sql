-- Who did what, on which repository, from where, with which result. Append-only.

create table audit_events (
  id          bigint generated always as identity primary key,
  at          timestamptz not null default now(),
  actor       text collate "C",    -- as grants name subjects; null: anonymous
  action      text collate "C" not null,
  repository  text collate "C",
  target      text,                -- tag, digest, or the name of what was administered
  result      text not null check (result in ('done', 'denied', 'failed')),
  address     text,
  request_id  text,
  detail      text
);
create index audit_events_by_actor on audit_events (actor, id);
create index audit_events_by_repository on audit_events (repository, id);
create index audit_events_by_action on audit_events (action, id);
create index audit_events_by_age on audit_events (at);

-- Only what prunes old events says so first.
create function refuse_audit_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' and current_setting('slipway.prunes_audit', true) = 'on' then
    return old;
  end if;
  raise exception 'audit events are not changed';
end
$$;

create trigger audit_events_append_only before update or delete on audit_events
  for each row execute function refuse_audit_change();

-- Blob uploads in progress. The server owns the offset; the bytes are in the blob store.

create table upload_sessions (
  id             uuid primary key,
  repository_id  bigint references repositories on delete set null,  -- null: to be dropped with its bytes
  owner          text,                             -- who started it; nobody else may go on
  algorithm      text not null default 'sha256',   -- what the bytes are hashed with on arrival
  offset_bytes   bigint not null default 0 check (offset_bytes >= 0),
  driver_state   jsonb not null,                   -- how the storage driver finds the bytes
  digest         text,                             -- of the bytes so far; null: not known, read them
  writer         uuid,                             -- the process that is adding bytes right now
  writer_until   timestamptz,                      -- its claim ends here unless renewed
  contested      boolean not null default false,   -- a claim ran out: its process may write on once more
  started_at     timestamptz not null default now(),
  expires_at     timestamptz not null
);
create index upload_sessions_by_expiry on upload_sessions (expires_at);

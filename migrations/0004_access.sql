-- Who may do what: accounts, groups, credentials, grants, and the keys that tokens are signed with.

-- Counts changes of what servers remember of this file. Who changes any of it updates the row first,
-- so that such changes happen one after the other.
create table access_version (
  singleton  boolean primary key default true check (singleton),
  version    bigint not null default 1
);
insert into access_version default values;

create table accounts (
  id             bigint generated always as identity primary key,
  kind           text not null check (kind in ('user', 'robot')),
  name           text collate "C" not null unique,  -- users and robots log in the same way
  description    text not null default '',
  password_hash  text,                              -- of a user, argon2id; null: no password opens it
  secret_hash    bytea unique,                      -- of a robot, sha256: the secret is random and long
  admin          boolean not null default false,    -- may use the API, and do everything no rule denies
  disabled       boolean not null default false,
  generation     integer not null default 1,        -- tokens of an earlier one are refused
  expires_at     timestamptz,
  last_used_at   timestamptz,
  created_at     timestamptz not null default now(),
  created_by     text,
  check (kind = 'user' or password_hash is null),
  check ((kind = 'robot') = (secret_hash is not null))
);

create table groups (
  id           bigint generated always as identity primary key,
  name         text collate "C" not null unique,
  description  text not null default '',
  created_at   timestamptz not null default now(),
  created_by   text
);

create table group_members (
  group_id    bigint not null references groups on delete cascade,
  account_id  bigint not null references accounts on delete cascade,
  primary key (group_id, account_id)
);
create index group_members_by_account on group_members (account_id);

-- Secrets besides the password of an account. Deleting the row revokes it.
create table credentials (
  id            uuid primary key,
  kind          text not null check (kind in ('personal', 'identity', 'keyless')),
  account_id    bigint references accounts on delete cascade,     -- null: keyless
  parent_id     uuid references credentials on delete cascade,    -- what this one was obtained with
  subject       text not null,                -- whom it speaks for, as grants name subjects
  name          text not null default '',     -- of a personal token, chosen by its owner
  secret_hash   bytea not null unique,        -- sha256
  coverage      jsonb,                        -- the most it may do; null: as much as the account
  generation    integer,                      -- of the account when it was made
  revision      text,                         -- keyless: of the rule that let it in
  created_at    timestamptz not null default now(),
  expires_at    timestamptz,
  last_used_at  timestamptz,
  followed      boolean not null default false,  -- of an identity token: its client was given the next one
  check ((kind = 'keyless') = (account_id is null))
);
create index credentials_by_account on credentials (account_id, kind, created_at);
create unique index credentials_names on credentials (account_id, name) where kind = 'personal';
create index credentials_by_parent on credentials (parent_id);
create index credentials_by_expiry on credentials (expires_at);

create table grants (
  id            bigint generated always as identity primary key,
  effect        text not null check (effect in ('allow', 'deny')),
  subject       text collate "C" not null,    -- user:…, robot:…, group:…, anonymous, authenticated, everyone
  repositories  text[] not null,              -- globs
  tags          text[],                       -- globs; null: the rule is not about tags
  actions       text[] not null,
  description   text not null default '',
  created_at    timestamptz not null default now(),
  created_by    text
);
create index grants_by_subject on grants (subject, id);

create table signing_keys (
  id           text primary key,              -- the key's "kid"
  private_jwk  jsonb not null,
  created_at   timestamptz not null default now()
);

-- Failed logins of one account or one address, lately.
create table login_failures (
  key           text collate "C" primary key,
  failures      integer not null,
  last_at       timestamptz not null,
  locked_until  timestamptz
);
create index login_failures_by_age on login_failures (last_at);

-- Tokens of other issuers that were exchanged: each is good for one exchange.
create table used_assertions (
  hash        bytea primary key,
  expires_at  timestamptz not null
);
create index used_assertions_by_expiry on used_assertions (expires_at);

-- What uploads to an object storage need, and chunks that arrive at different processes.
alter table upload_sessions
  add column tail       bytea,                             -- the last bytes received, where storage takes whole parts only
  add column hash_state bytea,                             -- of the bytes so far, as any process can go on with it
  add column leftovers  boolean not null default false;    -- an append may have left something in the storage
-- Already compressed, as layers are: trying again costs time only.
alter table upload_sessions alter column tail set storage external;

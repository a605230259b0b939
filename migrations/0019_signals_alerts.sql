-- What opens a closed quota again; alerts in the order of commits; endpoints in their tenant's own space.

-- A row without these was written by the release before: its instant is taken for a guess, which one call a minute may refute.
alter table quota_closures
    -- When the provider refused.
    add column refused_at timestamptz,
    -- Whether the provider gave the instant until which it is closed; otherwise it was computed.
    add column is_reported boolean not null default false,
    -- The model that was refused, if it is known.
    add column model text;

-- How far the evaluation has come, in the order of commits: what this snapshot saw has been looked at. Ids and instants are of
-- the clock of the replica that wrote the row, and say nothing about the order in which rows were committed.
alter table alert_head
    add column seen text,
    -- When, by the clock of the database.
    add column seen_at timestamptz,
    -- The instant of the last batch of each lane by then, in seconds since the Unix epoch: where its next rows begin.
    add column lanes jsonb not null default '{}'::jsonb;

-- An endpoint's `id` is its key inside the service. What callers call it is unique within its tenant alone; a row of the release
-- before is called by its `id`.
alter table webhooks
    add column name text,
    -- Counts replacements, from 1.
    add column version integer not null default 1,
    -- When a paused endpoint was last tried.
    add column probed_at timestamptz;
create unique index webhooks_name on webhooks ((coalesce(tenant, '')), (coalesce(name, id)));
grant select (name, version, probed_at) on webhooks to counterfoil_tenant;

-- What was counted lately: block ranges, because rows arrive in the order of time, and nearly free.
create index refusal_counts_minute on refusal_counts using brin (minute) with (autosummarize = on);

-- Reservations that nobody settled, by when they expired. Few, so that a partial index costs nothing to those that are settled.
-- Made at once and not concurrently: a concurrent one would wait for the replicas that wait for this migration.
create index reservations_expired on reservations (ended_at) where state = 'expired' and transfer is null;

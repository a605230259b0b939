-- Alerts: what is firing, what was told, and to whom it is still to be sent.
--
-- None of this is on the path of a call: one replica at a time evaluates, beside the lanes. A batch of a lane writes
-- nothing here, and nothing here takes a lock that a batch waits for.

-- One row: how far the evaluation has come.
create table alert_head (
    only_row boolean primary key default true constraint alert_head_only_row check (only_row),
    -- The newest transfer that was looked at. None before the first evaluation.
    journal_after uuid,
    -- The catalogue by which counters were looked at.
    catalogue_version bigint not null,
    evaluated_at timestamptz,
    -- When the rules that look at hours and days were last asked.
    slow_at timestamptz
);
insert into alert_head (catalogue_version) values (0);

-- What is firing: one row for each cause, until it clears.
create table alerts (
    cause text primary key,
    kind text not null,
    tenant text,
    budget text,
    key text,
    -- The event that told it. None for one of a storm, which is only counted.
    event uuid,
    raised_at timestamptz not null,
    -- When it is over by itself: the end of the period.
    ends_at timestamptz,
    -- The event's JSON as it was told, or would have been.
    doc text not null
);

-- What was told, in the order in which it was: one writer at a time, so that nothing is ever committed before `place`
-- of somebody who reads on from there.
create table events (
    place bigint generated always as identity primary key,
    id uuid not null constraint events_id_key unique,
    tenant text,
    kind text not null,
    status text not null constraint events_status check (status in ('raised', 'cleared')),
    severity text not null,
    -- Events of one group are delivered in their order.
    grp text not null,
    budget text,
    feature text,
    run text,
    occurred_at timestamptz not null,
    -- JSON, but never looked into here: it is signed and sent as it stands.
    doc text not null
);
-- What was told within the last hour; what may be forgotten.
create index events_occurred_at on events (occurred_at);
-- A tenant's own walk.
create index events_tenant on events (tenant, place);

create table webhooks (
    id text primary key,
    tenant text,
    url text not null,
    -- None means all.
    kinds text[] not null,
    enabled boolean not null,
    -- The key of the signature. Column rights below keep it from the role of confined reads.
    secret text not null,
    created_at timestamptz not null,
    changed_at timestamptz not null,
    -- Since when nothing is sent, because it kept failing; until somebody resumes it.
    paused_at timestamptz,
    failures integer not null default 0 constraint webhooks_failures check (failures >= 0),
    failing_since timestamptz,
    last_delivered_at timestamptz,
    last_failed_at timestamptz,
    last_status integer,
    last_error text,
    -- Events that were given up after their time.
    given_up bigint not null default 0
);

-- The outbox: what is still to be sent. A row goes when its endpoint has taken the event, or when it is given up.
create table deliveries (
    webhook text not null,
    place bigint not null,
    grp text not null,
    attempts integer not null default 0,
    -- When it was tried first: it is given up a while later, however long it had waited for its turn.
    tried_since timestamptz,
    next_attempt_at timestamptz not null,
    -- While it is on its way: until when nobody else sends it.
    claimed_until timestamptz,
    last_error text,
    primary key (webhook, place)
) with (fillfactor = 70);
-- The head of each endpoint's group, which holds back the later ones.
create index deliveries_group on deliveries (webhook, grp, place);

-- Runs that are going on, as far as alerts follow them. Double precision: nothing here is an amount of the books.
create table alert_runs (
    tenant text not null,
    feature text not null,
    run text not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    calls double precision not null,
    -- Its first calls, and the tokens of their prompts.
    early_calls double precision not null,
    early_prompt double precision not null,
    -- The ten minutes of its latest call, and those before.
    span_at timestamptz not null,
    span double precision[] not null,
    span_before double precision[] not null,
    peak_calls double precision not null,
    peak_usd double precision not null,
    primary key (tenant, feature, run)
) with (fillfactor = 70);
create index alert_runs_last_at on alert_runs (last_at);

-- What runs of a feature are usually like, learnt from those that have ended: means and variances of logarithms.
create table alert_usual_runs (
    tenant text not null,
    feature text not null,
    runs double precision not null,
    usual double precision[] not null,
    primary key (tenant, feature)
);

grant select on events, alerts to counterfoil_tenant;
grant select (
    id, tenant, url, kinds, enabled, created_at, changed_at, paused_at, failures, failing_since, last_delivered_at,
    last_failed_at, last_status, last_error, given_up
) on webhooks to counterfoil_tenant;

alter table events enable row level security;
alter table alerts enable row level security;
alter table webhooks enable row level security;
create policy tenant_reads_own on events for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));
create policy tenant_reads_own on alerts for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));
create policy tenant_reads_own on webhooks for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));

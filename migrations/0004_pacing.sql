-- Pacing: how far counters may be taken by calls that can wait; runs that were stopped, and for how long they have gone on.

-- One row per counter of a budget that is paced, replaced by each plan. Nothing here is derived from by anything but the
-- next plan: it may be deleted at any time, and then only limits count until the next one.
create table paces (
    budget integer not null,
    key text not null,
    period_start timestamptz not null,
    -- The tenant whose calls alone the counter counts.
    tenant text,
    made_at timestamptz not null,
    valid_until timestamptz not null,
    -- What a verdict looks at.
    pace jsonb not null,
    -- The figures that explain it.
    plan jsonb not null,
    -- The forecast it is made from: made once a day, corrected by what is seen.
    basis jsonb not null,
    basis_made_at timestamptz not null,
    constraint paces_key primary key (budget, key, period_start)
);
create index paces_valid_until on paces (valid_until);

-- When a counter was opened, which is the first call of a run where each run is counted. Written when the row is made; none
-- of rows that are older than this column, and then no time is known to have passed.
alter table counters add column opened_at timestamptz;

-- Runs that were stopped: read with the catalogue, whose version each change of this table bumps.
create table run_stops (
    tenant text not null,
    run text not null,
    reason text,
    -- Who: the subject of the token.
    stopped_by text not null,
    stopped_at timestamptz not null,
    constraint run_stops_key primary key (tenant, run)
);
create index run_stops_stopped_at on run_stops (stopped_at);

grant select on paces, run_stops to counterfoil_tenant;
alter table paces enable row level security;
alter table run_stops enable row level security;
create policy tenant_reads_own on paces for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));
create policy tenant_reads_own on run_stops for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));

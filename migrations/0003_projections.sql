-- Seeing the wall: work that is announced, and every projection that was made, with what came true of it.

-- Work that a user knows of before it happens: no profile of the past foresees a batch.
create table planned_usage (
    tenant text not null,
    id uuid not null,
    feature text,
    provider text,
    model text,
    region text,
    -- Half-open: the work is spread evenly over it.
    work_start timestamptz not null,
    work_end timestamptz not null,
    note text,
    -- What was announced; none of a unit that nobody said and that no price or factor could tell.
    requests bigint constraint planned_usage_requests check (requests >= 0),
    tokens bigint constraint planned_usage_tokens check (tokens >= 0),
    -- Buckets, when they were announced: a weighted measure needs them.
    input bigint constraint planned_usage_input check (input >= 0),
    cache_read bigint constraint planned_usage_cache_read check (cache_read >= 0),
    cache_write_5m bigint constraint planned_usage_cache_write_5m check (cache_write_5m >= 0),
    cache_write_1h bigint constraint planned_usage_cache_write_1h check (cache_write_1h >= 0),
    output bigint constraint planned_usage_output check (output >= 0),
    reasoning bigint constraint planned_usage_reasoning check (reasoning >= 0),
    usd numeric(28, 12) constraint planned_usage_usd check (usd >= 0),
    gco2e numeric(28, 9) constraint planned_usage_gco2e check (gco2e >= 0),
    gco2e_market numeric(28, 9) constraint planned_usage_gco2e_market check (gco2e_market >= 0),
    recorded_at timestamptz not null,
    -- Kept after it was called off: projections that counted it must stay explicable.
    withdrawn_at timestamptz,
    constraint planned_usage_key primary key (tenant, id),
    constraint planned_usage_lasts check (work_start < work_end)
);
create index planned_usage_work_end on planned_usage (work_end) where withdrawn_at is null;

-- Every projection that the service made for itself. Written once; the columns of the score are filled once the truth is
-- known. Numbers of the future are double precision: nothing here is ever an amount of the books.
create table projections (
    id uuid not null constraint projections_key primary key,
    budget integer not null,
    counter_key text not null,
    -- The tenant whose calls alone the counter counts.
    tenant text,
    -- Errors are pooled over projections of one class.
    class text not null,
    made_at timestamptz not null,
    -- Usage recorded up to this instant was known, under this version of the catalogue.
    watermark timestamptz not null,
    catalogue_version bigint not null,
    period_start timestamptz not null,
    period_end timestamptz,
    limit_quantity double precision not null,
    posted double precision not null,
    held double precision not null,
    -- None: not in this period.
    p10 timestamptz,
    p50 timestamptz,
    p90 timestamptz,
    p_exhaust double precision not null,
    -- Used by the end of the period, if nothing stopped it.
    expected_at_end double precision not null,
    expected_at_end_low double precision not null,
    expected_at_end_high double precision not null,
    confidence text not null,
    reasons text[] not null,
    method text not null,
    method_version integer not null,
    history_days integer not null,
    -- What was expected to be used from `made_at` on, after so many hours each: the errors of later are learnt from it.
    horizon_hours integer[] not null,
    horizon_expected double precision[] not null,
    -- The score. Looked at, and none of the rest: the truth cannot be known, because the budget was gone already or counts
    -- otherwise since.
    scored_at timestamptz,
    -- When it ran out; none: it did not.
    exhausted_at timestamptz,
    error_hours double precision,
    -- Whether the truth lay in the band from p10 to p90.
    covered boolean,
    -- The squared error of the probability: (p_exhaust - happened)^2.
    brier double precision,
    -- What was used after each of `horizon_hours`; none of those that had not passed.
    horizon_actual double precision[],
    constraint projections_horizons_pair check (cardinality(horizon_hours) = cardinality(horizon_expected))
);
create index projections_latest on projections (budget, counter_key, period_start, made_at);
-- What waits for its truth: what ends a period, the oldest first.
create index projections_unscored on projections (period_end) where scored_at is null;

-- The last hours of all tenants together: the roll-up's own key begins with the tenant.
create index usage_rollup_quarter on usage_rollup using brin (quarter) with (pages_per_range = 32, autosummarize = on);

grant select on planned_usage, projections to counterfoil_tenant;
alter table planned_usage enable row level security;
alter table projections enable row level security;
create policy tenant_reads_own on planned_usage for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));
create policy tenant_reads_own on projections for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));

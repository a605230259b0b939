-- The books.
--
-- Hot tables (transfers, reservations, counters, usage_rollup, idempotency_keys) are written only by lanes, in batches:
-- no triggers, no foreign keys (ids come from the catalogue and from locked rows), at most two secondary indexes.
-- Every hot table carries its tenant in its key, so that the same schema can be sharded by tenant.
-- Decimals are at most NUMERIC(28,s): a wider one loses digits silently on its way into rust_decimal.

-- One row: the version of the catalogue. A lane reads it inside each batch's transaction, under the shared advisory lock
-- that a change of the catalogue takes exclusively: no batch is ever decided by a catalogue that is out of date.
create table catalogue_head (
    only_row boolean primary key default true constraint catalogue_head_only_row check (only_row),
    -- Counts changes of tenants and budgets.
    version bigint not null,
    -- Counts changes of prices and factors.
    rates_version bigint not null,
    -- The timezone rules by which open periods were computed.
    tzdb text not null,
    -- Periods before this instant are closed: what belongs to them is counted in the open one.
    closed_until timestamptz
);
insert into catalogue_head (version, rates_version, tzdb) values (1, 1, '');

create table tenants (
    id text primary key,
    name text not null,
    timezone text not null,
    strict boolean not null default false,
    version integer not null default 1,
    created_at timestamptz not null,
    changed_at timestamptz not null,
    archived_at timestamptz
);

create table tenant_versions (
    id text not null,
    version integer not null,
    name text not null,
    timezone text not null,
    strict boolean not null,
    archived boolean not null,
    recorded_at timestamptz not null,
    primary key (id, version)
);

create table budgets (
    -- Short, because it stands in the key of every counter.
    number integer generated always as identity primary key,
    id text not null constraint budgets_id_key unique,
    -- scope.tenant, for row-level security and for listing.
    tenant text,
    -- The budget as the caller wrote it.
    doc jsonb not null,
    version integer not null default 1,
    -- Since when scope, each, measure, period and clock stand.
    counted_from timestamptz not null,
    created_at timestamptz not null,
    changed_at timestamptz not null,
    archived_at timestamptz
);

create table budget_versions (
    id text not null,
    version integer not null,
    tenant text,
    doc jsonb not null,
    archived boolean not null,
    recorded_at timestamptz not null,
    primary key (id, version)
);

-- Append-only by effective date: a new price is a new row, and a transfer names the row it was priced by.
create table prices (
    id bigint generated always as identity primary key,
    provider text not null,
    model text not null,
    service_tier text not null,
    region text not null default '',
    effective_from timestamptz not null,
    doc jsonb not null,
    source text not null,
    source_date text not null,
    licence text not null,
    recorded_at timestamptz not null,
    constraint prices_identity_key unique (provider, model, service_tier, region, effective_from, source, source_date)
);

create table factors (
    id bigint generated always as identity primary key,
    kind text not null,
    key text not null,
    factor_set text not null,
    effective_from timestamptz not null,
    doc jsonb not null,
    source text not null,
    licence text not null,
    recorded_at timestamptz not null,
    constraint factors_identity_key unique (kind, key, factor_set, effective_from, source)
);

-- The journal. One row is one call, in every unit at once; it is never updated or deleted.
create table transfers (
    tenant text not null,
    id uuid not null,
    kind text not null constraint transfers_kind check (kind in ('settlement', 'usage', 'correction', 'true_up')),
    debit_account text not null,
    credit_account text not null,
    feature text not null,
    provider text not null,
    model text not null,
    requested_model text,
    region text,
    run text,
    agent text,
    labels jsonb,
    priority text not null,
    -- 1 from supply to usage, −1 back: amounts are never negative.
    direction smallint not null constraint transfers_direction check (direction in (1, -1)),
    requests integer not null constraint transfers_requests check (requests >= 0),
    input bigint not null constraint transfers_input check (input >= 0),
    cache_read bigint not null constraint transfers_cache_read check (cache_read >= 0),
    cache_write_5m bigint not null constraint transfers_cache_write_5m check (cache_write_5m >= 0),
    cache_write_1h bigint not null constraint transfers_cache_write_1h check (cache_write_1h >= 0),
    output bigint not null constraint transfers_output check (output >= 0),
    reasoning bigint not null constraint transfers_reasoning check (reasoning >= 0),
    tokens bigint not null,
    usd numeric(28, 12) not null constraint transfers_usd check (usd >= 0),
    gco2e_usage_location numeric(28, 9) not null constraint transfers_gco2e_usage_location check (gco2e_usage_location >= 0),
    gco2e_usage_market numeric(28, 9) not null constraint transfers_gco2e_usage_market check (gco2e_usage_market >= 0),
    gco2e_embodied numeric(28, 9) not null constraint transfers_gco2e_embodied check (gco2e_embodied >= 0),
    price bigint,
    price_tier_from bigint not null,
    carbon_profile text not null,
    model_factor bigint,
    grid_factor bigint,
    market_factor bigint,
    flags integer not null,
    outcome text not null,
    latency_ms integer,
    provider_request_id text,
    provider_usd numeric(28, 12),
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,
    -- The instant whose period the row is counted in.
    period_at timestamptz not null,
    reservation uuid,
    -- The transfer that this one corrects.
    corrects uuid,
    primary key (tenant, id),
    constraint transfers_accounts_differ check (debit_account <> credit_account),
    constraint transfers_tokens_are_the_sum
        check (tokens = input + cache_read + cache_write_5m + cache_write_1h + output + reasoning)
);
-- Rows arrive nearly in the order of time: a block-range index finds a period for almost no cost on write.
create index transfers_period_at on transfers using brin (period_at) with (pages_per_range = 32, autosummarize = on);
-- The walk through the journal in the order it was written: pages of /v1/ledger/transfers, exports, verify.
create index transfers_id on transfers (id);

-- Pending transfers. Mutable until their one end.
create table reservations (
    id uuid not null,
    tenant text not null,
    feature text not null,
    provider text not null,
    model text not null,
    region text,
    run text,
    agent text,
    labels jsonb,
    priority text not null,
    service_tier text not null,
    requests integer not null,
    input bigint not null,
    cache_read bigint not null,
    cache_write_5m bigint not null,
    cache_write_1h bigint not null,
    output bigint not null,
    reasoning bigint not null,
    tokens bigint not null,
    usd numeric(28, 12) not null,
    gco2e_usage_location numeric(28, 9) not null,
    gco2e_usage_market numeric(28, 9) not null,
    gco2e_embodied numeric(28, 9) not null,
    price bigint,
    price_tier_from bigint not null,
    carbon_profile text not null,
    model_factor bigint,
    grid_factor bigint,
    market_factor bigint,
    flags integer not null,
    granted_at timestamptz not null,
    expires_at timestamptz not null,
    state text not null constraint reservations_state check (state in ('open', 'settled', 'released', 'expired')),
    ended_at timestamptz,
    transfer uuid,
    primary key (id, tenant),
    constraint reservations_end_is_whole check ((state = 'open') = (ended_at is null)),
    constraint reservations_settled_has_transfer check (state <> 'settled' or transfer is not null)
) with (fillfactor = 80);
-- What the clock ends, and what `verify` and a new budget add up.
create index reservations_open on reservations (expires_at) where state = 'open';

-- The only mutable numbers: what is posted and held, for one budget, key and period.
create table counters (
    budget integer not null,
    key text not null,
    period_start timestamptz not null,
    -- None for a budget that counts once and for ever.
    period_end timestamptz,
    -- The tenant whose calls it counts, if they are one tenant's alone.
    tenant text,
    posted numeric(28, 12) not null,
    held numeric(28, 12) not null,
    primary key (budget, key, period_start)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- Usage by quarter of an hour: every zone's local midnight today falls on one.
create table usage_rollup (
    tenant text not null,
    quarter timestamptz not null,
    feature text not null,
    provider text not null,
    model text not null,
    region text not null default '',
    -- What is asked of urgent calls alone is forecast apart.
    priority text not null,
    requests bigint not null,
    input bigint not null,
    cache_read bigint not null,
    cache_write_5m bigint not null,
    cache_write_1h bigint not null,
    output bigint not null,
    reasoning bigint not null,
    usd numeric(28, 12) not null,
    gco2e_usage_location numeric(28, 9) not null,
    gco2e_usage_market numeric(28, 9) not null,
    gco2e_embodied numeric(28, 9) not null,
    primary key (tenant, quarter, feature, provider, model, region, priority)
) with (fillfactor = 70);

-- The first answer to each key. `space` is the tenant a credential is confined to, or empty for the platform's own.
create table idempotency_keys (
    space text not null,
    key text not null,
    fingerprint bytea not null,
    -- JSON, but never looked into here: read back whole, as it was given.
    answer text not null,
    recorded_at timestamptz not null,
    primary key (space, key)
);
-- For forgetting: rows arrive in the order of time.
create index idempotency_keys_recorded_at on idempotency_keys using brin (recorded_at) with (autosummarize = on);

-- Verdicts that did not grant: one by one where they carry an idempotency key…
create table refusals (
    tenant text not null,
    id uuid not null,
    feature text not null,
    provider text not null,
    model text not null,
    run text,
    agent text,
    priority text not null,
    verdict text not null,
    reason text not null,
    budget text,
    key text not null,
    answer jsonb not null,
    refused_at timestamptz not null,
    primary key (tenant, id)
);

-- … and counted by tenant, binding budget and minute otherwise. The numbers are those of the latest.
create table refusal_counts (
    tenant text not null,
    minute timestamptz not null,
    budget text not null,
    feature text not null,
    verdict text not null,
    reason text not null,
    count bigint not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    answer jsonb not null,
    primary key (tenant, minute, budget, feature, verdict, reason)
) with (fillfactor = 70);

-- How far each lane has come: after a lost connection a lane reads here whether its last batch was committed.
create table lanes (
    id uuid primary key,
    batch bigint not null,
    recorded_at timestamptz not null
) with (fillfactor = 50);

-- What is written stays written. Triggers on update and delete cost an insert nothing.
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: a correction is a new row', tg_table_name using errcode = 'restrict_violation';
end
$$;
create trigger transfers_append_only before update or delete or truncate on transfers
    for each statement execute function refuse_change();
create trigger prices_append_only before update or delete or truncate on prices
    for each statement execute function refuse_change();
create trigger factors_append_only before update or delete or truncate on factors
    for each statement execute function refuse_change();
create trigger tenant_versions_append_only before update or delete or truncate on tenant_versions
    for each statement execute function refuse_change();
create trigger budget_versions_append_only before update or delete or truncate on budget_versions
    for each statement execute function refuse_change();

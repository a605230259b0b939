-- What calls really use of what they ask for: learned beside the hot path, from calls that have ended.
--
-- Derived from the journal and the reservations, and written by one worker at a time. Sums only, so that weeks and tenants
-- add up. Nothing that was granted depends on them any more: a reservation keeps what it holds.

-- How far the journal was read: transfers have ids in the order of time.
create table learned_cursor (
    only_row boolean primary key default true constraint learned_cursor_only_row check (only_row),
    transfer uuid not null,
    learned_at timestamptz
);
insert into learned_cursor (transfer) values ('00000000-0000-0000-0000-000000000000');

-- Calls that completed and said what they used, by week (from Monday, UTC) of their settlement. The model is the one that was
-- asked for.
create table learned_calls (
    tenant text not null,
    feature text not null,
    provider text not null,
    model text not null,
    week timestamptz not null,
    calls bigint not null,
    -- Granted with a smaller output than asked: their shares say little about others.
    capped bigint not null,
    -- More was used than the estimate.
    overruns bigint not null,
    estimated_output numeric(28, 0) not null,
    actual_output numeric(28, 0) not null,
    estimated_tokens numeric(28, 0) not null,
    actual_tokens numeric(28, 0) not null,
    primary key (tenant, feature, provider, model, week)
);

-- How often which share of the estimate was used. Buckets are those of the code, and never change their meaning.
create table learned_shares (
    tenant text not null,
    feature text not null,
    provider text not null,
    model text not null,
    week timestamptz not null,
    -- Of the output, or of all tokens.
    part text not null constraint learned_shares_part check (part in ('output', 'tokens')),
    bucket smallint not null,
    calls bigint not null,
    primary key (tenant, feature, provider, model, week, part, bucket)
);

grant select on learned_calls, learned_shares, learned_cursor to counterfoil_tenant;
alter table learned_calls enable row level security;
alter table learned_shares enable row level security;
create policy tenant_reads_own on learned_calls for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));
create policy tenant_reads_own on learned_shares for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));

-- What budgets hold of a reservation that do not hold its whole estimate: held, margin and the rest of the estimate, by
-- budget, as they were promised. Null where every budget holds the whole.
alter table reservations add column learned jsonb;

-- The sums of the same, by which the part of a limit is known that is kept aside.
alter table counters
    add column margin numeric(28, 12) not null default 0,
    add column at_risk numeric(28, 12) not null default 0;

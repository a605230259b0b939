-- What providers said about their limits, and the quotas that are closed by it.

-- One row for each answer of a provider that was not a plain success. Nothing of its headers and body is kept.
create table signals (
    -- Whose limit it is; empty for the platform's.
    tenant text not null,
    id uuid not null,
    provider text not null,
    model text,
    region text,
    status integer not null,
    class text not null constraint signals_class check (class in ('allow', 'cap', 'wait', 'stop', 'unknown')),
    kind text not null,
    rule text,
    retry_at timestamptz,
    -- The budgets that it closed, and until when.
    budgets text[] not null,
    closed_until timestamptz,
    -- Who told.
    subject text not null,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,
    constraint signals_pkey primary key (tenant, id),
    constraint signals_closing_is_whole check ((closed_until is null) = (cardinality(budgets) = 0))
);
-- The list, newest first: ids are in the order of time.
create index signals_id on signals (id);
create trigger signals_append_only before update or delete or truncate on signals
    for each statement execute function refuse_change();

-- The quotas that are closed: loaded with the catalogue, of which this is a part. It counts for one version of the budget:
-- a quota that was raised is open again.
create table quota_closures (
    budget integer not null,
    budget_version integer not null,
    closed_until timestamptz not null,
    -- The signal that closed it.
    signal uuid not null,
    recorded_at timestamptz not null,
    constraint quota_closures_pkey primary key (budget)
);

grant select on signals to counterfoil_tenant;
alter table signals enable row level security;
create policy tenant_reads_own on signals for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));

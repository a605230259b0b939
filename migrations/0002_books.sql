-- The books as an accountant expects them: entries with debit and credit, balances, the trial balance.

-- Two entries for each transfer. An amount stands in the debit or in the credit column, never in both.
--
-- A function, and the view of it: a view reads its tables as the owner of the view, whom row-level security does not bind,
-- and a view that reads as its caller (security_invoker) needs Postgres 15. A function is run as its caller by every
-- version, also below a view. Its body is one plain select, so that the planner reads through it as through a view.
create function journal_entries()
returns table (
    tenant text,
    transfer uuid,
    account text,
    side text,
    kind text,
    occurred_at timestamptz,
    recorded_at timestamptz,
    period_at timestamptz,
    tokens_debit bigint,
    tokens_credit bigint,
    usd_debit numeric,
    usd_credit numeric,
    gco2e_usage_location_debit numeric,
    gco2e_usage_location_credit numeric,
    gco2e_usage_market_debit numeric,
    gco2e_usage_market_credit numeric,
    gco2e_embodied_debit numeric,
    gco2e_embodied_credit numeric
)
language sql stable
as $$
    select
        transfer.tenant,
        transfer.id as transfer,
        leg.account,
        leg.side,
        transfer.kind,
        transfer.occurred_at,
        transfer.recorded_at,
        transfer.period_at,
        case leg.side when 'debit' then transfer.tokens else 0 end as tokens_debit,
        case leg.side when 'credit' then transfer.tokens else 0 end as tokens_credit,
        case leg.side when 'debit' then transfer.usd else 0 end as usd_debit,
        case leg.side when 'credit' then transfer.usd else 0 end as usd_credit,
        case leg.side when 'debit' then transfer.gco2e_usage_location else 0 end as gco2e_usage_location_debit,
        case leg.side when 'credit' then transfer.gco2e_usage_location else 0 end as gco2e_usage_location_credit,
        case leg.side when 'debit' then transfer.gco2e_usage_market else 0 end as gco2e_usage_market_debit,
        case leg.side when 'credit' then transfer.gco2e_usage_market else 0 end as gco2e_usage_market_credit,
        case leg.side when 'debit' then transfer.gco2e_embodied else 0 end as gco2e_embodied_debit,
        case leg.side when 'credit' then transfer.gco2e_embodied else 0 end as gco2e_embodied_credit
    from transfers as transfer
    cross join lateral (
        values (transfer.debit_account, 'debit'), (transfer.credit_account, 'credit')
    ) as leg (account, side)
$$;
create view entries as select * from journal_entries();

-- What each account stands at as of an instant of recording: debit less credit, in every unit.
create function account_balances(as_of timestamptz)
returns table (
    account text,
    transfers bigint,
    tokens numeric,
    usd numeric,
    gco2e_usage_location numeric,
    gco2e_usage_market numeric,
    gco2e_embodied numeric
)
language sql stable
as $$
    select
        account,
        count(*),
        sum(tokens_debit - tokens_credit),
        sum(usd_debit - usd_credit),
        sum(gco2e_usage_location_debit - gco2e_usage_location_credit),
        sum(gco2e_usage_market_debit - gco2e_usage_market_credit),
        sum(gco2e_embodied_debit - gco2e_embodied_credit)
    from entries
    where recorded_at <= as_of
    group by account
$$;

-- The sums of both sides in each unit. Their difference is zero, always.
create function trial_balance(as_of timestamptz)
returns table (unit text, debit numeric, credit numeric, difference numeric)
language sql stable
as $$
    with sides as (
        select
            coalesce(sum(tokens_debit), 0) as tokens_debit,
            coalesce(sum(tokens_credit), 0) as tokens_credit,
            coalesce(sum(usd_debit), 0) as usd_debit,
            coalesce(sum(usd_credit), 0) as usd_credit,
            coalesce(sum(gco2e_usage_location_debit), 0) as location_debit,
            coalesce(sum(gco2e_usage_location_credit), 0) as location_credit,
            coalesce(sum(gco2e_usage_market_debit), 0) as market_debit,
            coalesce(sum(gco2e_usage_market_credit), 0) as market_credit,
            coalesce(sum(gco2e_embodied_debit), 0) as embodied_debit,
            coalesce(sum(gco2e_embodied_credit), 0) as embodied_credit
        from entries
        where recorded_at <= as_of
    )
    select unit, debit, credit, debit - credit
    from sides
    cross join lateral (
        values
            (1, 'tokens', tokens_debit::numeric, tokens_credit::numeric),
            (2, 'usd', usd_debit, usd_credit),
            (3, 'gco2e_usage_location', location_debit, location_credit),
            (4, 'gco2e_usage_market', market_debit, market_credit),
            (5, 'gco2e_embodied', embodied_debit, embodied_credit)
    ) as by_unit (place, unit, debit, credit)
    order by place
$$;

-- The walk through the verdicts, newest first.
create index refusals_refused_at on refusals (refused_at, id);

-- The second line of defence: reads for a tenant's credential run under this role, and see that tenant's rows only,
-- whatever the query forgot. Lanes write as the owner of the tables, whom these policies do not bind.
do $$
begin
    create role counterfoil_tenant nologin;
exception
    -- Roles belong to the whole cluster: another database, or another replica at this moment, may have made it.
    when duplicate_object or unique_violation then null;
end
$$;
do $$
begin
    execute format('grant counterfoil_tenant to %I', current_user);
    execute format('grant usage on schema %I to counterfoil_tenant', current_schema());
exception
    when unique_violation then null;
end
$$;
grant select on
    tenants, budgets, transfers, reservations, counters, usage_rollup, refusals, refusal_counts, entries,
    prices, factors, catalogue_head
to counterfoil_tenant;

alter table tenants enable row level security;
alter table budgets enable row level security;
alter table transfers enable row level security;
alter table reservations enable row level security;
alter table counters enable row level security;
alter table usage_rollup enable row level security;
alter table refusals enable row level security;
alter table refusal_counts enable row level security;

create policy tenant_reads_own on tenants for select to counterfoil_tenant
    using (id = current_setting('counterfoil.tenant', true));
create policy tenant_reads_own on budgets for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));
create policy tenant_reads_own on transfers for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));
create policy tenant_reads_own on reservations for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));
create policy tenant_reads_own on counters for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));
create policy tenant_reads_own on usage_rollup for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));
create policy tenant_reads_own on refusals for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));
create policy tenant_reads_own on refusal_counts for select to counterfoil_tenant
    using (tenant = current_setting('counterfoil.tenant', true));

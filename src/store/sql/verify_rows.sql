-- What must hold within one row of the journal. The constraints of the table say part of it, too; this asks again.
select *
from (
    select
        transfer.tenant,
        'transfer' as kind,
        transfer.id,
        rule.name as field,
        rule.recorded,
        rule.recomputed
    from transfers as transfer
    cross join lateral (
        values
            (
                'tokens',
                tokens::text,
                (input + cache_read + cache_write_5m + cache_write_1h + output + reasoning)::text
            ),
            (
                case direction when 1 then 'debit_account' else 'credit_account' end,
                case direction when 1 then debit_account else credit_account end,
                case tenant when '-' then 'adjustment:' || provider else 'usage:' || tenant || '/' || feature end
            ),
            (
                case direction when 1 then 'credit_account' else 'debit_account' end,
                case direction when 1 then credit_account else debit_account end,
                'supply:' || provider || '/' || model
            ),
            (
                'kind',
                kind,
                case
                    when reservation is not null then 'settlement'
                    when kind = 'true_up' or (kind = 'correction' and corrects is not null) then kind
                    else 'usage'
                end
            )
    ) as rule (name, recorded, recomputed)
    where rule.recorded <> rule.recomputed
    union all
    -- A correction says which row it corrects, and that row is there.
    select
        transfer.tenant,
        'transfer',
        transfer.id,
        'corrects',
        transfer.corrects::text,
        null
    from transfers as transfer
    where transfer.corrects is not null and not exists (select from transfers where id = transfer.corrects)
    union all
    select
        transfer.tenant,
        'transfer',
        transfer.id,
        'tenant',
        transfer.tenant,
        null
    from transfers as transfer
    where
        not exists (select from tenants where tenants.id = transfer.tenant)
        and not (transfer.tenant = '-' and transfer.kind in ('true_up', 'correction'))
    union all
    -- What an approved reconciliation posted is in the journal, as it was approved.
    select
        true_up ->> 'tenant',
        'reconciliation',
        reconciliation.id,
        'true_ups',
        true_up ->> 'transfer',
        null
    from reconciliations as reconciliation
    cross join lateral json_array_elements(reconciliation.true_ups::json) as true_up
    where
        reconciliation.state = 'approved'
        and not exists (
            select
            from transfers as transfer
            where
                transfer.id = (true_up ->> 'transfer')::uuid
                and transfer.kind = 'true_up'
                and transfer.tenant = true_up ->> 'tenant'
                and transfer.direction = case true_up ->> 'direction' when 'forward' then 1 else -1 end
                and transfer.tokens = (true_up -> 'amounts' ->> 'tokens')::bigint
                and transfer.usd = (true_up -> 'amounts' ->> 'usd')::numeric
        )
) as found
order by 1, 2, 3, 4
limit $1

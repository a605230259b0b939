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
) as found
order by 1, 2, 3, 4
limit $1

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
            ('debit_account', debit_account, 'usage:' || tenant || '/' || feature),
            ('credit_account', credit_account, 'supply:' || provider || '/' || model),
            ('kind', kind, case when reservation is null then 'usage' else 'settlement' end)
    ) as rule (name, recorded, recomputed)
    where transfer.kind in ('settlement', 'usage') and rule.recorded <> rule.recomputed
    union all
    select
        transfer.tenant,
        'transfer',
        transfer.id,
        'tenant',
        transfer.tenant,
        null
    from transfers as transfer
    where not exists (select from tenants where tenants.id = transfer.tenant)
) as found
order by 1, 2, 3, 4
limit $1

-- Where a walk in the order of time begins and ends: the first and the last row of a span ($1, $2).
select first.period_at, last.period_at, last.id
from (
    select period_at
    from transfers
    where
        period_at >= coalesce($1::timestamptz, '-infinity')
        and period_at < coalesce($2::timestamptz, 'infinity')
    order by period_at, id
    limit 1
) as first
cross join (
    select period_at, id
    from transfers
    where
        period_at >= coalesce($1::timestamptz, '-infinity')
        and period_at < coalesce($2::timestamptz, 'infinity')
    order by period_at desc, id desc
    limit 1
) as last

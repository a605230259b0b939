-- The same of what was recorded from $3 on. That is looked for by its own index first: it may stand anywhere in the span.
with recent as materialized (
    select period_at, id
    from transfers
    where
        recorded_at >= $3
        and period_at >= coalesce($1::timestamptz, '-infinity')
        and period_at < coalesce($2::timestamptz, 'infinity')
)

select first.period_at, last.period_at, last.id
from (select period_at from recent order by period_at limit 1) as first
cross join (select period_at, id from recent order by period_at desc, id desc limit 1) as last

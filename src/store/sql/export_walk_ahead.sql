-- The last rows of the next $6 pages, of $5 rows each: after ($1, $2), up to ($3, $4). From the index alone, and of all tenants,
-- so that a page is as much work for whoever may see few of its rows.
with recursive ends (place, period_at, id) as (
    select
        0,
        $1::timestamptz,
        $2::uuid
    union all
    select
        ends.place + 1,
        next.period_at,
        next.id
    from ends
    cross join lateral (
        select
            transfers.period_at,
            transfers.id
        from transfers
        where
            (transfers.period_at, transfers.id) > (ends.period_at, ends.id)
            and (transfers.period_at, transfers.id) <= ($3, $4)
        order by transfers.period_at, transfers.id
        offset $5 - 1
        limit 1
    ) as next
    where ends.place < $6
)

select
    period_at,
    id
from ends
where place > 0
order by place

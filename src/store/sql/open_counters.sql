-- The counters of budgets whose period is open, by budget and key: so many keys of each after one. The starts of open periods
-- come from the calendar; where each tenant's own zone bounds them, each start goes with the name of its zone. Of a window
-- that slides the start is that of its oldest slice, and all that begin later count.
with open as (
    select *
    from unnest($1::integer[], $2::text[], $3::timestamptz[], $4::boolean[])
        as open (budget, zone, period_start, slides)
),
found as (
    select counter.budget, counter.key, counter.period_start, counter.posted, counter.held, counter.margin,
        counter.at_risk, counter.tenant
    from counters as counter
    left join tenants as owner on owner.id = counter.tenant
    join open
        on open.budget = counter.budget
        and (
            open.period_start = counter.period_start
            or (open.slides and open.period_start < counter.period_start)
        )
        and (open.zone = '' or open.zone = owner.timezone)
    where
        ($5::text is null or counter.key = $5)
        and ($6::text is null or counter.key collate "C" > $6)
),
page as (
    select budget, key
    from (
        select budget, key, row_number() over (partition by budget order by key collate "C") as place
        from found
        group by budget, key
    ) as keys
    where place <= $7
)
select found.budget, found.key, found.period_start, found.posted, found.held, found.margin, found.at_risk, found.tenant
from found
join page using (budget, key)
order by found.budget, found.key collate "C", found.period_start

-- The counters of a budget whose period is open, by key: so many keys after one. The starts of open periods come from the
-- calendar; where each tenant's own zone bounds them, each start goes with the name of its zone. Of a sliding window ($7)
-- the start is that of its oldest slice, and all that begin later count.
with open as (
    select *
    from unnest($2::text[], $3::timestamptz[]) as open (zone, period_start)
),
found as (
    select counter.budget, counter.key, counter.period_start, counter.posted, counter.held, counter.margin,
        counter.at_risk, counter.tenant
    from counters as counter
    left join tenants as owner on owner.id = counter.tenant
    join open
        on (open.period_start = counter.period_start or ($7 and open.period_start < counter.period_start))
        and (open.zone = '' or open.zone = owner.timezone)
    where
        counter.budget = $1
        and ($4::text is null or counter.key = $4)
        and ($5::text is null or counter.key collate "C" > $5)
),
page as (
    select key
    from found
    group by key
    order by key collate "C"
    limit $6
)
select found.budget, found.key, found.period_start, found.posted, found.held, found.margin, found.at_risk, found.tenant
from found
join page using (key)
order by found.key collate "C", found.period_start

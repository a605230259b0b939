-- The latest projection of each of some counters: a look-up by key for each.
select projection.*
from unnest($1::integer[], $2::text[], $3::timestamptz[]) as counter (budget, key, period_start)
cross join lateral (
    select *
    from projections as one
    where one.budget = counter.budget and one.counter_key = counter.key and one.period_start = counter.period_start
    order by one.made_at desc
    limit 1
) as projection

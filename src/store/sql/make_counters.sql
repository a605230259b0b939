-- Makes the counters that do not exist yet ($3 to $8), at zero, and the rows of the sliding windows that the batch writes or
-- grants by ($1, $2). All of those are locked here, in the order of their keys and before any counter is made, as in
-- `lock_counters.sql`: no two replicas wait for each other in a circle.
with anchored as (
    insert into windows as anchor (budget, key, slices)
    select budget, key, 0
    from unnest($1::integer[], $2::text[]) as new (budget, key)
    on conflict (budget, key) do update set slices = anchor.slices
    returning 1
)
insert into counters (budget, key, period_start, period_end, tenant, posted, held)
select budget, key, period_start, period_end, tenant, 0, 0
from unnest($3::integer[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[])
    as new (budget, key, period_start, period_end, tenant)
where (select count(*) from anchored) >= 0
on conflict (budget, key, period_start) do nothing

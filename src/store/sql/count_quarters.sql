-- The quarters of an hour in which these tenants, or any, used anything for these features: the roll-up's key finds those of
-- tenants.
select distinct quarter
from usage_rollup
where
    ($1::text[] is null or tenant = any($1))
    and ($2::text[] is null or feature = any($2))
    and ($3::timestamptz is null or quarter >= $3)
order by quarter

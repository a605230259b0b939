-- The quarters of an hour in which these tenants used anything for these features: the roll-up's key finds them.
select distinct quarter
from usage_rollup
where
    tenant = any($1::text[])
    and ($2::text[] is null or feature = any($2))
    and ($3::timestamptz is null or quarter >= $3)
order by quarter

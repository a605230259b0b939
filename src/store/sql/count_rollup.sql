-- The same of the roll-up, where it tells apart all that the budgets do; with what was seen by it. One row at least.
-- $1 tenants, $2 features, $3 since; $4 the turns, $5 until when they are known; $6 whether anything is looked for at all.
with sums as (
    select
        rollup.tenant,
        rollup.feature,
        rollup.provider,
        rollup.model,
        nullif(rollup.region, '') as region,
        min(rollup.quarter) as at,
        sum(rollup.requests)::numeric as requests,
        sum(rollup.input)::numeric as input,
        sum(rollup.cache_read)::numeric as cache_read,
        sum(rollup.cache_write_5m)::numeric as cache_write_5m,
        sum(rollup.cache_write_1h)::numeric as cache_write_1h,
        sum(rollup.output)::numeric as output,
        sum(rollup.reasoning)::numeric as reasoning,
        sum(rollup.usd) as usd,
        sum(rollup.gco2e_usage_location) as gco2e_usage_location,
        sum(rollup.gco2e_usage_market) as gco2e_usage_market,
        sum(rollup.gco2e_embodied) as gco2e_embodied
    from usage_rollup as rollup
    where
        $6::boolean
        and ($1::text[] is null or rollup.tenant = any($1))
        and ($2::text[] is null or rollup.feature = any($2))
        and ($3::timestamptz is null or rollup.quarter >= $3)
    group by
        rollup.tenant,
        rollup.feature,
        rollup.provider,
        rollup.model,
        rollup.region,
        case when rollup.quarter < $5::timestamptz then width_bucket(rollup.quarter, $4::timestamptz[]) end,
        case when rollup.quarter >= $5::timestamptz then rollup.quarter end
)

select
    head.seen,
    null::text as run,
    null::text as agent,
    null::jsonb as labels,
    null::jsonb as said_as,
    -- Never asked for: no budget that the roll-up knows bounds time.
    null::timestamptz as opened_at,
    sums.*
from (select pg_current_snapshot()::text as seen) as head
left join sums on true

-- The rows of `compare_rollup.sql` that differ; $8 is how many at most.
select
    tenant,
    quarter,
    feature,
    provider,
    model,
    region,
    priority,
    array[
        trim_scale(rollup.requests)::text,
        trim_scale(rollup.input)::text,
        trim_scale(rollup.cache_read)::text,
        trim_scale(rollup.cache_write_5m)::text,
        trim_scale(rollup.cache_write_1h)::text,
        trim_scale(rollup.output)::text,
        trim_scale(rollup.reasoning)::text,
        trim_scale(rollup.usd)::text,
        trim_scale(rollup.gco2e_usage_location)::text,
        trim_scale(rollup.gco2e_usage_market)::text,
        trim_scale(rollup.gco2e_embodied)::text
    ] as recorded,
    array[
        trim_scale(journal.requests)::text,
        trim_scale(journal.input)::text,
        trim_scale(journal.cache_read)::text,
        trim_scale(journal.cache_write_5m)::text,
        trim_scale(journal.cache_write_1h)::text,
        trim_scale(journal.output)::text,
        trim_scale(journal.reasoning)::text,
        trim_scale(journal.usd)::text,
        trim_scale(journal.gco2e_usage_location)::text,
        trim_scale(journal.gco2e_usage_market)::text,
        trim_scale(journal.gco2e_embodied)::text
    ] as recomputed
from rollup
full join journal using (tenant, quarter, feature, provider, model, region, priority)
where
    (
        rollup.requests,
        rollup.input,
        rollup.cache_read,
        rollup.cache_write_5m,
        rollup.cache_write_1h,
        rollup.output,
        rollup.reasoning,
        rollup.usd,
        rollup.gco2e_usage_location,
        rollup.gco2e_usage_market,
        rollup.gco2e_embodied
    ) is distinct from (
        journal.requests,
        journal.input,
        journal.cache_read,
        journal.cache_write_5m,
        journal.cache_write_1h,
        journal.output,
        journal.reasoning,
        journal.usd,
        journal.gco2e_usage_location,
        journal.gco2e_usage_market,
        journal.gco2e_embodied
    )
order by tenant, quarter, feature, provider, model, region, priority
limit $8

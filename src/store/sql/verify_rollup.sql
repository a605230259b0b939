-- The roll-up against the journal, both ways: a row that only one of them has differs in every column. A sum that a column of
-- the roll-up cannot hold is the most that it can.
with journal as (
    select
        tenant,
        date_bin('15 minutes', period_at, 'epoch') as quarter,
        feature,
        -- A row that was written before there were names counts by what its spelling means.
        coalesce(spelling.named_provider, transfers.provider) as provider,
        coalesce(spelling.named_model, transfers.model) as model,
        coalesce(region, '') as region,
        priority,
        least(greatest(sum(direction * requests)::numeric, -9223372036854775808), 9223372036854775807) as requests,
        least(greatest(sum(direction * input)::numeric, -9223372036854775808), 9223372036854775807) as input,
        least(greatest(sum(direction * cache_read)::numeric, -9223372036854775808), 9223372036854775807) as cache_read,
        least(greatest(sum(direction * cache_write_5m)::numeric, -9223372036854775808), 9223372036854775807) as cache_write_5m,
        least(greatest(sum(direction * cache_write_1h)::numeric, -9223372036854775808), 9223372036854775807) as cache_write_1h,
        least(greatest(sum(direction * output)::numeric, -9223372036854775808), 9223372036854775807) as output,
        least(greatest(sum(direction * reasoning)::numeric, -9223372036854775808), 9223372036854775807) as reasoning,
        least(greatest(sum(direction * usd), -9999999999999999.999999999999), 9999999999999999.999999999999) as usd,
        least(greatest(sum(direction * gco2e_usage_location), -9999999999999999999.999999999), 9999999999999999999.999999999) as gco2e_usage_location,
        least(greatest(sum(direction * gco2e_usage_market), -9999999999999999999.999999999), 9999999999999999999.999999999) as gco2e_usage_market,
        least(greatest(sum(direction * gco2e_embodied), -9999999999999999999.999999999), 9999999999999999999.999999999) as gco2e_embodied
    from transfers
    left join spellings as spelling
        on transfers.said_as is null
        and spelling.provider = transfers.provider
        and spelling.model = transfers.model
    group by 1, 2, 3, 4, 5, 6, 7
),
rollup as (
    select
        tenant,
        quarter,
        feature,
        provider,
        model,
        region,
        priority,
        requests::numeric as requests,
        input::numeric as input,
        cache_read::numeric as cache_read,
        cache_write_5m::numeric as cache_write_5m,
        cache_write_1h::numeric as cache_write_1h,
        output::numeric as output,
        reasoning::numeric as reasoning,
        usd,
        gco2e_usage_location,
        gco2e_usage_market,
        gco2e_embodied
    from usage_rollup
)
select
    tenant,
    quarter,
    feature,
    provider,
    model,
    region,
    priority,
    array[
        trim_scale(rollup.requests)::text, trim_scale(rollup.input)::text, trim_scale(rollup.cache_read)::text,
        trim_scale(rollup.cache_write_5m)::text, trim_scale(rollup.cache_write_1h)::text,
        trim_scale(rollup.output)::text, trim_scale(rollup.reasoning)::text, trim_scale(rollup.usd)::text,
        trim_scale(rollup.gco2e_usage_location)::text, trim_scale(rollup.gco2e_usage_market)::text,
        trim_scale(rollup.gco2e_embodied)::text
    ] as recorded,
    array[
        trim_scale(journal.requests)::text, trim_scale(journal.input)::text, trim_scale(journal.cache_read)::text,
        trim_scale(journal.cache_write_5m)::text, trim_scale(journal.cache_write_1h)::text,
        trim_scale(journal.output)::text, trim_scale(journal.reasoning)::text, trim_scale(journal.usd)::text,
        trim_scale(journal.gco2e_usage_location)::text, trim_scale(journal.gco2e_usage_market)::text,
        trim_scale(journal.gco2e_embodied)::text
    ] as recomputed
from rollup
full join journal using (tenant, quarter, feature, provider, model, region, priority)
where
    (
        rollup.requests, rollup.input, rollup.cache_read, rollup.cache_write_5m, rollup.cache_write_1h, rollup.output,
        rollup.reasoning, rollup.usd, rollup.gco2e_usage_location, rollup.gco2e_usage_market, rollup.gco2e_embodied
    ) is distinct from (
        journal.requests, journal.input, journal.cache_read, journal.cache_write_5m, journal.cache_write_1h,
        journal.output, journal.reasoning, journal.usd, journal.gco2e_usage_location, journal.gco2e_usage_market,
        journal.gco2e_embodied
    )
order by tenant, quarter, feature, provider, model, region, priority
limit $1

-- The roll-up beside the journal, row by row and both ways: a row that only one of them has differs in every column. A sum that a
-- column of the roll-up cannot hold is the most that it can.
-- $1 a tenant, $2 and $3 from when and until when calls count: everything where they are null. $4 to $7 the spellings, and the
-- names that they mean: a row that was written before there were names counts by them.
with journal as (
    select
        tenant,
        date_bin('15 minutes', period_at, 'epoch') as quarter,
        feature,
        coalesce(spelling.named_provider, transfers.provider) as provider,
        coalesce(spelling.named_model, transfers.model) as model,
        coalesce(region, '') as region,
        priority,
        count(*) as transfers,
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
    left join unnest($4::text[], $5::text[], $6::text[], $7::text[])
        as spelling (said_provider, said_model, named_provider, named_model)
        on transfers.said_as is null
        and spelling.said_provider = transfers.provider
        and spelling.said_model = transfers.model
    where
        ($1::text is null or tenant = $1)
        and ($2::timestamptz is null or period_at >= $2)
        and ($3::timestamptz is null or period_at < $3)
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
    where
        ($1::text is null or tenant = $1)
        and ($2::timestamptz is null or quarter >= $2)
        and ($3::timestamptz is null or quarter < $3)
)

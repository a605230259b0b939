-- Transfers that one charge period, one account, one price and one set of factors have in common, added up.
with charges as materialized (
    select
        width_bucket(transfers.period_at, $12::timestamptz[]) as slot,
        transfers.tenant,
        transfers.feature,
        transfers.provider,
        transfers.model,
        transfers.region,
        transfers.labels,
        transfers.kind,
        starts_with(transfers.debit_account, 'supply:') as returned,
        transfers.price,
        transfers.price_tier_from,
        transfers.carbon_profile,
        transfers.model_factor,
        transfers.grid_factor,
        transfers.market_factor,
        transfers.flags & $13::integer as flags,
        -- The charge that a correction is about, so that it can be named: its period if it is in this export, and if it is none
        -- that corrects another.
        case
            when original.corrects is null and original.period_at >= $2 and original.period_at < $3
                then width_bucket(original.period_at, $12::timestamptz[])
        end as of_slot,
        original.kind as of_kind,
        starts_with(original.debit_account, 'supply:') as of_returned,
        original.price as of_price,
        original.price_tier_from as of_price_tier_from,
        original.carbon_profile as of_carbon_profile,
        original.model_factor as of_model_factor,
        original.grid_factor as of_grid_factor,
        original.market_factor as of_market_factor,
        original.flags & $13::integer as of_flags,
        count(*) as transfers,
        sum(transfers.requests)::bigint as requests,
        sum(transfers.input)::bigint as input,
        sum(transfers.cache_read)::bigint as cache_read,
        sum(transfers.cache_write_5m)::bigint as cache_write_5m,
        sum(transfers.cache_write_1h)::bigint as cache_write_1h,
        sum(transfers.output)::bigint as output,
        sum(transfers.reasoning)::bigint as reasoning,
        sum(transfers.usd)::numeric(28, 12) as usd,
        sum(transfers.gco2e_usage_location)::numeric(28, 9) as gco2e_usage_location,
        sum(transfers.gco2e_usage_market)::numeric(28, 9) as gco2e_usage_market,
        sum(transfers.gco2e_embodied)::numeric(28, 9) as gco2e_embodied,
        coalesce(sum(original.input), 0)::bigint as of_input,
        coalesce(sum(original.cache_read), 0)::bigint as of_cache_read,
        coalesce(sum(original.cache_write_5m), 0)::bigint as of_cache_write_5m,
        coalesce(sum(original.cache_write_1h), 0)::bigint as of_cache_write_1h,
        coalesce(sum(original.output), 0)::bigint as of_output,
        coalesce(sum(original.reasoning), 0)::bigint as of_reasoning,
        -- The one transfer that all of them correct, if it is one.
        case
            when count(transfers.corrects) = count(*) and min(transfers.corrects::text) = max(transfers.corrects::text)
                then min(transfers.corrects::text)
        end as corrects
    from transfers
    -- The limit keeps the planner from reading the journal once more: few rows correct another.
    left join lateral (
        select *
        from transfers as corrected
        where
            corrected.id = transfers.corrects
            and corrected.tenant = transfers.tenant
            and corrected.feature = transfers.feature
            and corrected.provider = transfers.provider
            and corrected.model = transfers.model
            and corrected.region is not distinct from transfers.region
            and corrected.labels is not distinct from transfers.labels
        limit 1
    ) as original on true
    where

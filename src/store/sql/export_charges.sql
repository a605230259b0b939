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
        sum(transfers.gco2e_embodied)::numeric(28, 9) as gco2e_embodied
    from transfers
    where

-- The calls of one page of a slice, with what charges are told apart by, and of a correction the transfer that it is about.
select
    transfers.period_at,
    transfers.tenant,
    transfers.feature,
    transfers.provider,
    transfers.model,
    transfers.region,
    transfers.labels::text,
    transfers.kind,
    starts_with(transfers.debit_account, 'supply:') as returned,
    transfers.price,
    transfers.price_tier_from,
    transfers.carbon_profile,
    transfers.model_factor,
    transfers.grid_factor,
    transfers.market_factor,
    transfers.flags,
    transfers.requests,
    transfers.input,
    transfers.cache_read,
    transfers.cache_write_5m,
    transfers.cache_write_1h,
    transfers.output,
    transfers.reasoning,
    transfers.usd,
    transfers.gco2e_usage_location,
    transfers.gco2e_usage_market,
    transfers.gco2e_embodied,
    transfers.corrects,
    original.kind as of_kind,
    -- Where what it corrects counts, if that is none that corrects another.
    case when original.corrects is null then original.period_at end as of_at,
    starts_with(original.debit_account, 'supply:') as of_returned,
    original.price as of_price,
    original.price_tier_from as of_price_tier_from,
    original.carbon_profile as of_carbon_profile,
    original.model_factor as of_model_factor,
    original.grid_factor as of_grid_factor,
    original.market_factor as of_market_factor,
    original.flags as of_flags,
    original.input as of_input,
    original.cache_read as of_cache_read,
    original.cache_write_5m as of_cache_write_5m,
    original.cache_write_1h as of_cache_write_1h,
    original.output as of_output,
    original.reasoning as of_reasoning,
    transfers.occurred_at
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

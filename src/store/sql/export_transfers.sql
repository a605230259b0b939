select
    id,
    kind,
    debit_account,
    credit_account,
    tenant,
    feature,
    provider,
    model,
    requested_model,
    region,
    run,
    agent,
    labels::text,
    requests,
    input,
    cache_read,
    cache_write_5m,
    cache_write_1h,
    output,
    reasoning,
    tokens,
    usd,
    gco2e_usage_location,
    gco2e_usage_market,
    gco2e_embodied,
    price,
    price_tier_from,
    carbon_profile,
    model_factor,
    grid_factor,
    market_factor,
    flags,
    outcome,
    latency_ms,
    provider_request_id,
    provider_usd,
    occurred_at,
    recorded_at,
    period_at,
    reservation,
    corrects,
    priority,
    -- What the grams of a correction of grams alone were computed from: looked up for those rows only.
    case
        when corrects is not null and tokens = 0 and requests = 0 then (
            select
                array[
                    original.requests, original.input, original.cache_read, original.cache_write_5m,
                    original.cache_write_1h, original.output, original.reasoning, original.flags, original.latency_ms
                ]::bigint[]
            from transfers as original
            where original.id = transfers.corrects
            limit 1
        )
    end
from transfers
where

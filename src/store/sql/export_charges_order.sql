    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
)

select
    charges.slot,
    charges.tenant,
    tenants.name,
    charges.feature,
    charges.provider,
    charges.model,
    charges.region,
    charges.labels::text,
    charges.kind,
    charges.returned,
    charges.price,
    charges.price_tier_from,
    charges.carbon_profile,
    charges.model_factor,
    charges.grid_factor,
    charges.market_factor,
    charges.flags,
    charges.transfers,
    charges.requests,
    charges.input,
    charges.cache_read,
    charges.cache_write_5m,
    charges.cache_write_1h,
    charges.output,
    charges.reasoning,
    charges.usd,
    charges.gco2e_usage_location,
    charges.gco2e_usage_market,
    charges.gco2e_embodied
from charges
left join tenants on tenants.id = charges.tenant
-- Every column that tells rows apart, so that the order is the same each time.
order by
    charges.slot,
    charges.tenant collate "C",
    charges.feature collate "C",
    charges.provider collate "C",
    charges.model collate "C",
    charges.region collate "C",
    charges.price,
    charges.price_tier_from,
    charges.labels,
    charges.kind,
    charges.returned,
    charges.carbon_profile,
    charges.model_factor,
    charges.grid_factor,
    charges.market_factor,
    charges.flags

-- Rows of the journal, each with what is said of its grams now: its own, and what its restatements moved. A restatement is a
-- correction that moves grams alone; the latest one that goes the row's way has the factors they stand on.
select
    transfers.*,
    transfers.gco2e_usage_location + transfers.direction * coalesce(restated.location, 0) as location_now,
    transfers.gco2e_usage_market + transfers.direction * coalesce(restated.market, 0) as market_now,
    transfers.gco2e_embodied + transfers.direction * coalesce(restated.embodied, 0) as embodied_now,
    latest.carbon_profile as latest_profile,
    latest.model_factor as latest_model_factor,
    latest.grid_factor as latest_grid_factor,
    latest.market_factor as latest_market_factor,
    latest.flags as latest_flags
from transfers
left join lateral (
    select
        sum(later.direction * later.gco2e_usage_location) as location,
        sum(later.direction * later.gco2e_usage_market) as market,
        sum(later.direction * later.gco2e_embodied) as embodied,
        (
            array_agg(later.id order by later.recorded_at desc, later.id desc)
            filter (where later.direction = transfers.direction)
        )[1] as latest
    from transfers as later
    where
        later.corrects = transfers.id
        and later.kind = 'correction'
        and later.tokens = 0
        and later.requests = 0
        and later.usd = 0
) as restated on true
left join transfers as latest on latest.id = restated.latest

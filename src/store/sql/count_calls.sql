-- Calls of the journal that some budgets can have counted, added up as far as none of the budgets tells them apart: by what they
-- are about, and between two instants at which a counter turns.
-- $1 tenants, $2 features, $3 since; $4 the turns, $5 until when they are known; $6 to $8 whether runs, agents and labels are
-- told apart, $9 whether what was said of who served them is, $10 features, $11 who served them and where (what is not told apart is
-- any); $12 to $14 whether tokens, dollars and grams are counted. Of the mark: $15 what was recorded before it was seen, $16 what it
-- saw, $17 its newest transaction (see `export_slice.sql`).
select
    transfers.tenant,
    case when $10::boolean then transfers.feature else 'any' end as feature,
    case when $11::boolean then transfers.provider else 'any' end as provider,
    case when $11::boolean then transfers.model else 'any' end as model,
    case when $11::boolean then transfers.region end as region,
    case when $6::boolean then transfers.run end as run,
    case when $7::boolean then transfers.agent end as agent,
    case when $8::boolean then transfers.labels end as labels,
    case when $9::boolean or transfers.said_as is null then transfers.said_as else '{}'::jsonb end as said_as,
    min(transfers.period_at) as at,
    min(transfers.period_at) filter (where transfers.direction = 1) as opened_at,
    sum(transfers.direction * transfers.requests)::numeric as requests,
    coalesce(sum(transfers.direction * transfers.input) filter (where $12::boolean), 0)::numeric as input,
    coalesce(sum(transfers.direction * transfers.cache_read) filter (where $12::boolean), 0)::numeric as cache_read,
    coalesce(sum(transfers.direction * transfers.cache_write_5m) filter (where $12::boolean), 0)::numeric as cache_write_5m,
    coalesce(sum(transfers.direction * transfers.cache_write_1h) filter (where $12::boolean), 0)::numeric as cache_write_1h,
    coalesce(sum(transfers.direction * transfers.output) filter (where $12::boolean), 0)::numeric as output,
    coalesce(sum(transfers.direction * transfers.reasoning) filter (where $12::boolean), 0)::numeric as reasoning,
    -- A sign is cheaper than a product.
    coalesce(
        sum(case when transfers.direction = 1 then transfers.usd else -transfers.usd end) filter (where $13::boolean), 0
    ) as usd,
    coalesce(
        sum(case when transfers.direction = 1 then transfers.gco2e_usage_location else -transfers.gco2e_usage_location end) filter (where $14::boolean), 0
    ) as gco2e_usage_location,
    coalesce(
        sum(case when transfers.direction = 1 then transfers.gco2e_usage_market else -transfers.gco2e_usage_market end) filter (where $14::boolean), 0
    ) as gco2e_usage_market,
    coalesce(
        sum(case when transfers.direction = 1 then transfers.gco2e_embodied else -transfers.gco2e_embodied end) filter (where $14::boolean), 0
    ) as gco2e_embodied

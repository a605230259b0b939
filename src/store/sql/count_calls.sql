-- Calls of the journal that some budgets can have counted, added up as far as none of the budgets tells them apart: by what they
-- are about, and between two instants at which a counter turns.
-- $1 tenants, $2 features, $3 since; $4 the turns, $5 until when they are known; $6 to $8 whether runs, agents and labels are
-- told apart, $9 whether what was said of who served them is. Of the mark: $10 long enough before it, $11 what it saw, $12 its newest transaction (see `export_slice.sql`).
select
    transfers.tenant,
    transfers.feature,
    transfers.provider,
    transfers.model,
    transfers.region,
    case when $6::boolean then transfers.run end as run,
    case when $7::boolean then transfers.agent end as agent,
    case when $8::boolean then transfers.labels end as labels,
    case when $9::boolean or transfers.said_as is null then transfers.said_as else '{}'::jsonb end as said_as,
    min(transfers.period_at) as at,
    sum(transfers.direction * transfers.requests)::numeric as requests,
    sum(transfers.direction * transfers.input)::numeric as input,
    sum(transfers.direction * transfers.cache_read)::numeric as cache_read,
    sum(transfers.direction * transfers.cache_write_5m)::numeric as cache_write_5m,
    sum(transfers.direction * transfers.cache_write_1h)::numeric as cache_write_1h,
    sum(transfers.direction * transfers.output)::numeric as output,
    sum(transfers.direction * transfers.reasoning)::numeric as reasoning,
    sum(transfers.direction * transfers.usd) as usd,
    sum(transfers.direction * transfers.gco2e_usage_location) as gco2e_usage_location,
    sum(transfers.direction * transfers.gco2e_usage_market) as gco2e_usage_market,
    sum(transfers.direction * transfers.gco2e_embodied) as gco2e_embodied

-- The roll-up's rows under a spelling, added to those under the name it means.
with spelled as (
    delete from usage_rollup as rollup
    using spellings as spelling
    where rollup.provider = spelling.provider and rollup.model = spelling.model
    returning rollup.*, spelling.named_provider, spelling.named_model
)
insert into usage_rollup as rollup (
    tenant, quarter, feature, provider, model, region, priority, requests, input, cache_read, cache_write_5m,
    cache_write_1h, output, reasoning, usd, gco2e_usage_location, gco2e_usage_market, gco2e_embodied
)
select
    tenant, quarter, feature, named_provider, named_model, region, priority, sum(requests), sum(input), sum(cache_read),
    sum(cache_write_5m), sum(cache_write_1h), sum(output), sum(reasoning), sum(usd), sum(gco2e_usage_location),
    sum(gco2e_usage_market), sum(gco2e_embodied)
from spelled
group by tenant, quarter, feature, named_provider, named_model, region, priority
on conflict (tenant, quarter, feature, provider, model, region, priority) do update
set
    requests = rollup.requests + excluded.requests,
    input = rollup.input + excluded.input,
    cache_read = rollup.cache_read + excluded.cache_read,
    cache_write_5m = rollup.cache_write_5m + excluded.cache_write_5m,
    cache_write_1h = rollup.cache_write_1h + excluded.cache_write_1h,
    output = rollup.output + excluded.output,
    reasoning = rollup.reasoning + excluded.reasoning,
    usd = rollup.usd + excluded.usd,
    gco2e_usage_location = rollup.gco2e_usage_location + excluded.gco2e_usage_location,
    gco2e_usage_market = rollup.gco2e_usage_market + excluded.gco2e_usage_market,
    gco2e_embodied = rollup.gco2e_embodied + excluded.gco2e_embodied

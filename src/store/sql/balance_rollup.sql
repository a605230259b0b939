-- What `compare_rollup.sql` finds, added up: one row.
select
    coalesce(sum(journal.transfers), 0)::bigint as transfers,
    count(rollup.requests) as rows,
    count(*) filter (
        where
            (
                rollup.requests,
                rollup.input,
                rollup.cache_read,
                rollup.cache_write_5m,
                rollup.cache_write_1h,
                rollup.output,
                rollup.reasoning,
                rollup.usd,
                rollup.gco2e_usage_location,
                rollup.gco2e_usage_market,
                rollup.gco2e_embodied
            ) is distinct from (
                journal.requests,
                journal.input,
                journal.cache_read,
                journal.cache_write_5m,
                journal.cache_write_1h,
                journal.output,
                journal.reasoning,
                journal.usd,
                journal.gco2e_usage_location,
                journal.gco2e_usage_market,
                journal.gco2e_embodied
            )
    ) as differing,
    coalesce(sum(journal.requests), 0) as journal_requests,
    coalesce(sum(journal.input + journal.cache_read + journal.cache_write_5m + journal.cache_write_1h + journal.output + journal.reasoning), 0) as journal_tokens,
    coalesce(sum(journal.usd), 0) as journal_usd,
    coalesce(sum(journal.gco2e_usage_location), 0) as journal_gco2e_usage_location,
    coalesce(sum(journal.gco2e_usage_market), 0) as journal_gco2e_usage_market,
    coalesce(sum(journal.gco2e_embodied), 0) as journal_gco2e_embodied,
    coalesce(sum(rollup.requests), 0) as rollup_requests,
    coalesce(sum(rollup.input + rollup.cache_read + rollup.cache_write_5m + rollup.cache_write_1h + rollup.output + rollup.reasoning), 0) as rollup_tokens,
    coalesce(sum(rollup.usd), 0) as rollup_usd,
    coalesce(sum(rollup.gco2e_usage_location), 0) as rollup_gco2e_usage_location,
    coalesce(sum(rollup.gco2e_usage_market), 0) as rollup_gco2e_usage_market,
    coalesce(sum(rollup.gco2e_embodied), 0) as rollup_gco2e_embodied
from rollup
full join journal using (tenant, quarter, feature, provider, model, region, priority)

-- What both sides of each unit add up to. $1 a tenant, $2 and $3 from when and until when calls count, $4 the instant of recording
-- up to which they do.
with sides as (
    select
        coalesce(sum(tokens_debit), 0)::numeric as tokens_debit,
        coalesce(sum(tokens_credit), 0)::numeric as tokens_credit,
        coalesce(sum(usd_debit), 0)::numeric as usd_debit,
        coalesce(sum(usd_credit), 0)::numeric as usd_credit,
        coalesce(sum(gco2e_usage_location_debit), 0)::numeric as gco2e_usage_location_debit,
        coalesce(sum(gco2e_usage_location_credit), 0)::numeric as gco2e_usage_location_credit,
        coalesce(sum(gco2e_usage_market_debit), 0)::numeric as gco2e_usage_market_debit,
        coalesce(sum(gco2e_usage_market_credit), 0)::numeric as gco2e_usage_market_credit,
        coalesce(sum(gco2e_embodied_debit), 0)::numeric as gco2e_embodied_debit,
        coalesce(sum(gco2e_embodied_credit), 0)::numeric as gco2e_embodied_credit
    from entries
    where
        ($1::text is null or tenant = $1)
        and ($2::timestamptz is null or period_at >= $2)
        and ($3::timestamptz is null or period_at < $3)
        and ($4::timestamptz is null or recorded_at <= $4)
)

select unit, debit, credit, debit - credit as difference
from sides
cross join lateral (
    values
        (1, 'tokens', tokens_debit, tokens_credit),
        (2, 'usd', usd_debit, usd_credit),
        (3, 'gco2e_usage_location', gco2e_usage_location_debit, gco2e_usage_location_credit),
        (4, 'gco2e_usage_market', gco2e_usage_market_debit, gco2e_usage_market_credit),
        (5, 'gco2e_embodied', gco2e_embodied_debit, gco2e_embodied_credit)
) as by_unit (place, unit, debit, credit)
order by place

    group by 1, 2
)

select
    coalesce(sum(pairs.transfers) filter (where leg.side = 'debit'), 0)::bigint as transfers,
    coalesce(sum(pairs.tokens) filter (where leg.side = 'debit'), 0)::numeric(28, 0) as tokens_debit,
    coalesce(sum(pairs.usd) filter (where leg.side = 'debit'), 0)::numeric(28, 12) as usd_debit,
    coalesce(sum(pairs.location) filter (where leg.side = 'debit'), 0)::numeric(28, 9) as location_debit,
    coalesce(sum(pairs.market) filter (where leg.side = 'debit'), 0)::numeric(28, 9) as market_debit,
    coalesce(sum(pairs.embodied) filter (where leg.side = 'debit'), 0)::numeric(28, 9) as embodied_debit,
    coalesce(sum(pairs.tokens) filter (where leg.side = 'credit'), 0)::numeric(28, 0) as tokens_credit,
    coalesce(sum(pairs.usd) filter (where leg.side = 'credit'), 0)::numeric(28, 12) as usd_credit,
    coalesce(sum(pairs.location) filter (where leg.side = 'credit'), 0)::numeric(28, 9) as location_credit,
    coalesce(sum(pairs.market) filter (where leg.side = 'credit'), 0)::numeric(28, 9) as market_credit,
    coalesce(sum(pairs.embodied) filter (where leg.side = 'credit'), 0)::numeric(28, 9) as embodied_credit,
    coalesce(sum(pairs.tokens * leg.supplied), 0)::numeric(28, 0) as tokens_supplied,
    coalesce(sum(pairs.usd * leg.supplied), 0)::numeric(28, 12) as usd_supplied,
    coalesce(sum(pairs.location * leg.supplied), 0)::numeric(28, 9) as location_supplied,
    coalesce(sum(pairs.market * leg.supplied), 0)::numeric(28, 9) as market_supplied,
    coalesce(sum(pairs.embodied * leg.supplied), 0)::numeric(28, 9) as embodied_supplied
from pairs
cross join lateral (
    values
        (pairs.debit_account, 'debit', case when starts_with(pairs.debit_account, 'supply:') then -1 end),
        (pairs.credit_account, 'credit', case when starts_with(pairs.credit_account, 'supply:') then 1 end)
) as leg (account, side, supplied)

-- Both legs of each transfer, as the view `entries` has them, of one slice of the journal.
select
    count(*) filter (where leg.side = 'debit') as transfers,
    coalesce(sum(transfers.tokens) filter (where leg.side = 'debit'), 0)::numeric(28, 0) as tokens_debit,
    coalesce(sum(transfers.usd) filter (where leg.side = 'debit'), 0)::numeric(28, 12) as usd_debit,
    coalesce(sum(transfers.gco2e_usage_location) filter (where leg.side = 'debit'), 0)::numeric(28, 9) as location_debit,
    coalesce(sum(transfers.gco2e_usage_market) filter (where leg.side = 'debit'), 0)::numeric(28, 9) as market_debit,
    coalesce(sum(transfers.gco2e_embodied) filter (where leg.side = 'debit'), 0)::numeric(28, 9) as embodied_debit,
    coalesce(sum(transfers.tokens) filter (where leg.side = 'credit'), 0)::numeric(28, 0) as tokens_credit,
    coalesce(sum(transfers.usd) filter (where leg.side = 'credit'), 0)::numeric(28, 12) as usd_credit,
    coalesce(sum(transfers.gco2e_usage_location) filter (where leg.side = 'credit'), 0)::numeric(28, 9)
        as location_credit,
    coalesce(sum(transfers.gco2e_usage_market) filter (where leg.side = 'credit'), 0)::numeric(28, 9) as market_credit,
    coalesce(sum(transfers.gco2e_embodied) filter (where leg.side = 'credit'), 0)::numeric(28, 9) as embodied_credit,
    coalesce(sum(transfers.tokens * leg.supplied), 0)::numeric(28, 0) as tokens_supplied,
    coalesce(sum(transfers.usd * leg.supplied), 0)::numeric(28, 12) as usd_supplied,
    coalesce(sum(transfers.gco2e_usage_location * leg.supplied), 0)::numeric(28, 9) as location_supplied,
    coalesce(sum(transfers.gco2e_usage_market * leg.supplied), 0)::numeric(28, 9) as market_supplied,
    coalesce(sum(transfers.gco2e_embodied * leg.supplied), 0)::numeric(28, 9) as embodied_supplied
from transfers
cross join lateral (
    values
        (transfers.debit_account, 'debit', case when starts_with(transfers.debit_account, 'supply:') then -1 end),
        (transfers.credit_account, 'credit', case when starts_with(transfers.credit_account, 'supply:') then 1 end)
) as leg (account, side, supplied)
where

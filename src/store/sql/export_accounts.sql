-- What the transfers of one page move on each account: before an instant ($17), and in all; debit less credit.
select
    leg.account,
    coalesce(sum(transfers.tokens * leg.sign) filter (where transfers.period_at < $17), 0)::numeric(28, 0),
    coalesce(sum(transfers.usd * leg.sign) filter (where transfers.period_at < $17), 0)::numeric(28, 12),
    coalesce(sum(transfers.gco2e_usage_location * leg.sign) filter (where transfers.period_at < $17), 0)::numeric(28, 9),
    coalesce(sum(transfers.gco2e_usage_market * leg.sign) filter (where transfers.period_at < $17), 0)::numeric(28, 9),
    coalesce(sum(transfers.gco2e_embodied * leg.sign) filter (where transfers.period_at < $17), 0)::numeric(28, 9),
    sum(transfers.tokens * leg.sign)::numeric(28, 0),
    sum(transfers.usd * leg.sign)::numeric(28, 12),
    sum(transfers.gco2e_usage_location * leg.sign)::numeric(28, 9),
    sum(transfers.gco2e_usage_market * leg.sign)::numeric(28, 9),
    sum(transfers.gco2e_embodied * leg.sign)::numeric(28, 9),
    min(transfers.period_at) filter (where $17::timestamptz is null or transfers.period_at >= $17),
    max(transfers.period_at)
from transfers
cross join lateral (values (transfers.debit_account, 1), (transfers.credit_account, -1)) as leg (account, sign)
where

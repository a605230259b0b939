-- Each account's balance by the books' own function against the plain sum of its transfers, both ways.
with moved as (
    select debit_account as account, tokens, usd, gco2e_usage_location, gco2e_usage_market, gco2e_embodied
    from transfers
    union all
    select credit_account, -tokens, -usd, -gco2e_usage_location, -gco2e_usage_market, -gco2e_embodied
    from transfers
),
summed as (
    select
        account,
        count(*) as transfers,
        sum(tokens) as tokens,
        sum(usd) as usd,
        sum(gco2e_usage_location) as gco2e_usage_location,
        sum(gco2e_usage_market) as gco2e_usage_market,
        sum(gco2e_embodied) as gco2e_embodied
    from moved
    group by account
)
select
    account,
    array[
        balance.transfers::text, trim_scale(balance.tokens)::text, trim_scale(balance.usd)::text,
        trim_scale(balance.gco2e_usage_location)::text, trim_scale(balance.gco2e_usage_market)::text,
        trim_scale(balance.gco2e_embodied)::text
    ] as recorded,
    array[
        summed.transfers::text, trim_scale(summed.tokens)::text, trim_scale(summed.usd)::text,
        trim_scale(summed.gco2e_usage_location)::text, trim_scale(summed.gco2e_usage_market)::text,
        trim_scale(summed.gco2e_embodied)::text
    ] as recomputed
from account_balances('infinity') as balance
full join summed using (account)
where
    (
        balance.transfers, balance.tokens, balance.usd, balance.gco2e_usage_location, balance.gco2e_usage_market,
        balance.gco2e_embodied
    ) is distinct from (
        summed.transfers, summed.tokens, summed.usd, summed.gco2e_usage_location, summed.gco2e_usage_market,
        summed.gco2e_embodied
    )
order by account
limit $1

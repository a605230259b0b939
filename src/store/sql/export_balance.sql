-- Both legs of each transfer, as the view `entries` has them, of one slice of the journal: the transfers between two accounts
-- are added up first, because the legs of many transfers are the legs of their sum.
with pairs as (
    select
        transfers.debit_account,
        transfers.credit_account,
        count(*) as transfers,
        sum(transfers.tokens) as tokens,
        sum(transfers.usd) as usd,
        sum(transfers.gco2e_usage_location) as location,
        sum(transfers.gco2e_usage_market) as market,
        sum(transfers.gco2e_embodied) as embodied
    from transfers
    where

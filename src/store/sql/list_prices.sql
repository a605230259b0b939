-- A page of the price rows. With an instant, only the row that applies then: of each provider, model, tier and region the
-- newest that is in force, then the one added last. The same rule as the price book's.
select price.id, price.doc, price.recorded_at
from prices as price
where
    ($1::text[] is null or lower(price.provider) = any($1))
    and ($2::text[] is null or lower(price.model) = any($2))
    and price.id > $4
    and (
        $3::timestamptz is null
        or price.id = (
            select rival.id
            from prices as rival
            where
                rival.provider = price.provider
                and rival.model = price.model
                and rival.service_tier = price.service_tier
                and rival.region = price.region
                and rival.effective_from <= $3
                and coalesce((rival.doc ->> 'effective_to')::timestamptz > $3, true)
            order by rival.effective_from desc, rival.id desc
            limit 1
        )
    )
order by price.id
limit $5

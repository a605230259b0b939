-- Adds price rows that are not there yet, and answers with the place (from 1) and id of each that is new.
with new as (
    select *
    from unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::jsonb[], $7::text[], $8::text[], $9::text[]
    ) with ordinality as new (
        provider, model, service_tier, region, effective_from, doc, source, source_date, licence, place
    )
),
added as (
    insert into prices (
        provider, model, service_tier, region, effective_from, doc, source, source_date, licence, recorded_at
    )
    select provider, model, service_tier, region, effective_from, doc, source, source_date, licence, $10
    from new
    order by place
    on conflict on constraint prices_identity_key do nothing
    returning id, provider, model, service_tier, region, effective_from, source, source_date
)
select min(new.place) as place, added.id
from added
join new using (provider, model, service_tier, region, effective_from, source, source_date)
group by added.id
order by place

-- Adds factor rows that are not there yet, and answers with the place (from 1) and id of each that is new.
with new as (
    select *
    from unnest(
        $1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::jsonb[], $6::text[], $7::text[]
    ) with ordinality as new (kind, key, factor_set, effective_from, doc, source, licence, place)
),
added as (
    insert into factors (kind, key, factor_set, effective_from, doc, source, licence, recorded_at)
    select kind, key, factor_set, effective_from, doc, source, licence, $8
    from new
    order by place
    on conflict on constraint factors_identity_key do nothing
    returning id, kind, key, factor_set, effective_from, source
)
select min(new.place) as place, added.id
from added
join new using (kind, key, factor_set, effective_from, source)
group by added.id
order by place

-- The catalogue's versions, the instant of the batch (by the clock that says $2, and followed at most $4 ahead), the
-- reservations named ($1), and a page ($3) of those whose time has passed by then, locked in the order of their ids. The
-- versions come even when there is no reservation.
with time as materialized (
    select instant_after($2, $4) as instant
),
wanted as materialized (
    select id, bool_or(is_due) as is_due
    from (
        select unnest($1::uuid[]) as id, false as is_due
        union all
        (
            select id, true
            from reservations
            where state = 'open' and expires_at <= (select instant from time)
            order by expires_at
            limit $3
        )
    ) as named_or_due
    group by id
),
locked as materialized (
    select wanted.is_due, reservation.*
    from wanted
    join reservations as reservation on reservation.id = wanted.id
    order by reservation.id
    for update of reservation
)
select head.version, head.rates_version, time.instant, statement_timestamp() as server_at, locked.*
from catalogue_head as head
cross join time
left join locked on true

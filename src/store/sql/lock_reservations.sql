-- The catalogue's versions, the reservations named ($1), and a page ($3) of those whose time has passed at $2, locked in
-- the order of their ids. The versions come even when there is no reservation.
with wanted as materialized (
    select unnest($1::uuid[]) as id
    union
    (
        select id
        from reservations
        where state = 'open' and expires_at <= $2
        order by expires_at
        limit $3
    )
),
locked as materialized (
    select reservation.*
    from wanted
    join reservations as reservation on reservation.id = wanted.id
    order by reservation.id
    for update of reservation
)
select head.version, head.rates_version, locked.*
from catalogue_head as head
left join locked on true

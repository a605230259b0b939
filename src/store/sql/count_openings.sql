-- When runs were begun by reservations, open or ended, that some budgets can have counted: the first of those that no budget tells
-- apart, between two instants at which a counter turns.
-- $1 tenants, $2 features, $3 since; $4 the turns; $5 to $7 whether agents, labels and what was said are told apart.
select
    reservation.tenant,
    reservation.feature,
    reservation.provider,
    reservation.model,
    reservation.region,
    reservation.run,
    case when $5::boolean then reservation.agent end as agent,
    case when $6::boolean then reservation.labels end as labels,
    case when $7::boolean or reservation.said_as is null then reservation.said_as else '{}'::jsonb end as said_as,
    min(coalesce(reservation.held_at, reservation.granted_at)) as at,
    min(reservation.granted_at) as opened_at
from reservations as reservation
where
    reservation.run is not null
    and ($1::text[] is null or reservation.tenant = any($1))
    and ($2::text[] is null or reservation.feature = any($2))
    and ($3::timestamptz is null or coalesce(reservation.held_at, reservation.granted_at) >= $3)

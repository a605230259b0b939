group by
    reservation.tenant,
    reservation.feature,
    reservation.provider,
    reservation.model,
    reservation.region,
    reservation.run,
    case when $5::boolean then reservation.agent end,
    case when $6::boolean then reservation.labels end,
    case when $7::boolean or reservation.said_as is null then reservation.said_as else '{}'::jsonb end,
    width_bucket(coalesce(reservation.held_at, reservation.granted_at), $4::timestamptz[])

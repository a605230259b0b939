-- Each reservation reaches exactly one end: it and its one transfer name each other. $1 is the flag of a late transfer, $3 that
-- of an estimate that was posted when it expired: a settlement that came after all takes its place, and corrects it. $4 is
-- that of one whose period was closed.
select *
from (
    select
        reservation.tenant,
        'reservation' as kind,
        reservation.id,
        'transfer' as field,
        reservation.transfer::text as recorded,
        null as recomputed
    from reservations as reservation
    left join transfers as transfer
        on transfer.tenant = reservation.tenant
        and transfer.id = reservation.transfer
        and transfer.reservation = reservation.id
    where reservation.transfer is not null and transfer.id is null
    union all
    select
        transfer.tenant,
        'transfer',
        transfer.id,
        'reservation',
        transfer.reservation::text,
        null
    from transfers as transfer
    left join reservations as reservation
        on reservation.id = transfer.reservation
        and reservation.tenant = transfer.tenant
        and reservation.transfer = transfer.id
    where
        transfer.reservation is not null
        and reservation.id is null
        and not (transfer.flags & $3 <> 0 and exists (select from transfers as later where later.corrects = transfer.id))
    union all
    select
        min(tenant),
        'reservation',
        reservation,
        'transfers',
        count(*)::text,
        '1'
    from transfers
    where reservation is not null
    group by reservation, flags & $3 <> 0
    having count(*) > 1
    union all
    select
        tenant,
        'reservation',
        id,
        'transfer',
        transfer::text,
        null
    from reservations
    where state = 'open' and transfer is not null
    union all
    select
        reservation.tenant,
        'reservation',
        reservation.id,
        'state',
        reservation.state,
        case when transfer.flags & $1 <> 0 then 'expired' else 'settled' end
    from reservations as reservation
    join transfers as transfer on transfer.tenant = reservation.tenant and transfer.id = reservation.transfer
    where
        reservation.state in ('settled', 'expired', 'released')
        and (reservation.state <> 'settled') <> (transfer.flags & ($1 | $3) <> 0)
    union all
    -- It counts where it was granted, unless that was closed when it was written: then in what was open, and it says so.
    select
        transfer.tenant,
        'transfer',
        transfer.id,
        'period_at',
        transfer.period_at::text,
        case when transfer.flags & $4 = 0 then coalesce(reservation.held_at, reservation.granted_at) else transfer.recorded_at end::text
    from reservations as reservation
    join transfers as transfer on transfer.tenant = reservation.tenant and transfer.id = reservation.transfer
    where
        case
            when transfer.flags & $4 = 0 then transfer.period_at <> coalesce(reservation.held_at, reservation.granted_at)
            else
                transfer.period_at <> transfer.recorded_at
                -- By a clock that was behind the closing.
                and not exists (
                    select
                    from closings
                    where
                        closings.closed_until = transfer.period_at
                        and closings.closed_until > transfer.recorded_at
                )
        end
    union all
    -- Whether it was closed is said by the closings. An hour is more than clocks differ by.
    select
        transfer.tenant,
        'transfer',
        transfer.id,
        'flags',
        case when transfer.flags & $4 <> 0 then 'period_closed' end,
        case when transfer.flags & $4 = 0 then 'period_closed' end
    from reservations as reservation
    join transfers as transfer on transfer.tenant = reservation.tenant and transfer.id = reservation.transfer
    where
        case
            when transfer.flags & $4 = 0 then exists (
                select
                from closings
                where
                    closings.closed_until > coalesce(reservation.held_at, reservation.granted_at)
                    and closings.closed_at < transfer.recorded_at - interval '1 hour'
            )
            else not exists (
                select
                from closings
                where
                    closings.closed_until > coalesce(reservation.held_at, reservation.granted_at)
                    and closings.closed_at <= transfer.recorded_at + interval '1 hour'
            )
        end
    union all
    -- It says of the call what its reservation says, but for what served it.
    select
        transfer.tenant,
        'transfer',
        transfer.id,
        said.name,
        said.recorded,
        said.recomputed
    from reservations as reservation
    join transfers as transfer on transfer.tenant = reservation.tenant and transfer.id = reservation.transfer
    cross join lateral (
        values
            ('feature', transfer.feature, reservation.feature),
            ('run', transfer.run, reservation.run),
            ('agent', transfer.agent, reservation.agent),
            ('labels', transfer.labels::text, reservation.labels::text),
            ('priority', transfer.priority, reservation.priority),
            ('requests', transfer.requests::text, reservation.requests::text)
    ) as said (name, recorded, recomputed)
    where said.recorded is distinct from said.recomputed
    union all
    select
        tenant,
        'reservation',
        id,
        'tokens',
        tokens::text,
        (input + cache_read + cache_write_5m + cache_write_1h + output + reasoning)::text
    from reservations
    where tokens <> input + cache_read + cache_write_5m + cache_write_1h + output + reasoning
    union all
    select
        reservation.tenant,
        'reservation',
        reservation.id,
        held.name,
        held.amount::text,
        'not negative'
    from reservations as reservation
    cross join lateral (
        values
            ('requests', requests::numeric),
            ('input', input),
            ('cache_read', cache_read),
            ('cache_write_5m', cache_write_5m),
            ('cache_write_1h', cache_write_1h),
            ('output', output),
            ('reasoning', reasoning),
            ('usd', usd),
            ('gco2e_usage_location', gco2e_usage_location),
            ('gco2e_usage_market', gco2e_usage_market),
            ('gco2e_embodied', gco2e_embodied)
    ) as held (name, amount)
    where held.amount < 0
) as found
order by 1, 2, 3, 4
limit $2

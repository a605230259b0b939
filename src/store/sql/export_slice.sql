-- $1 tenant; $2 from, $3 to; of the mark since which: $4, $5 the window around it, $6 what it saw, $7 its newest
-- transaction; $8 to $11 the same of the mark until which. A row keeps 32 bits of the transaction that wrote it: near a
-- mark they are completed from the mark's newest one.
    ($1::text is null or transfers.tenant = $1)
    -- As restated ($16), what came late belongs to when it happened. Nothing counts before that.
    and ($2::timestamptz is null or transfers.period_at >= $2)
    and ($2::timestamptz is null or not $16::boolean or transfers.occurred_at >= $2)
    and ($3::timestamptz is null or case when $16 then transfers.occurred_at else transfers.period_at end < $3)
    and ($4::timestamptz is null or transfers.recorded_at >= $4)
    and (
        $5::timestamptz is null
        or transfers.recorded_at > $5
        or not pg_visible_in_snapshot(
            greatest(
                3,
                $7::bigint - 2147483648
                    + (transfers.xmin::text::bigint - ($7::bigint & 4294967295) + 6442450944) % 4294967296
            )::text::xid8,
            $6::text::pg_snapshot
        )
    )
    and (
        $8::timestamptz is null
        or transfers.recorded_at < $8
        or (
            ($9::timestamptz is null or transfers.recorded_at <= $9)
            and pg_visible_in_snapshot(
                greatest(
                    3,
                    $11::bigint - 2147483648
                        + (transfers.xmin::text::bigint - ($11::bigint & 4294967295) + 6442450944) % 4294967296
                )::text::xid8,
                $10::text::pg_snapshot
            )
        )
    )
    -- One page of it: after ($12, $13), up to ($14, $15).
    and (transfers.period_at, transfers.id) > ($12, $13)
    and (transfers.period_at, transfers.id) <= ($14, $15)

    -- What the mark saw.
    and (
        transfers.recorded_at < $10::timestamptz
        or pg_visible_in_snapshot(
            greatest(
                3,
                $12::bigint - 2147483648
                    + (transfers.xmin::text::bigint - ($12::bigint & 4294967295) + 6442450944) % 4294967296
            )::text::xid8,
            $11::text::pg_snapshot
        )
    )

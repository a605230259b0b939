    -- What the mark saw.
    and (
        transfers.recorded_at < $15::timestamptz
        or pg_visible_in_snapshot(
            greatest(
                3,
                $17::bigint - 2147483648
                    + (transfers.xmin::text::bigint - ($17::bigint & 4294967295) + 6442450944) % 4294967296
            )::text::xid8,
            $16::text::pg_snapshot
        )
    )

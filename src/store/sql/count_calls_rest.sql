    -- What the mark did not see.
    and transfers.recorded_at >= $9::timestamptz
    and not pg_visible_in_snapshot(
        greatest(
            3,
            $11::bigint - 2147483648
                + (transfers.xmin::text::bigint - ($11::bigint & 4294967295) + 6442450944) % 4294967296
        )::text::xid8,
        $10::text::pg_snapshot
    )

where
    ($1::text[] is null or transfers.tenant = any($1))
    and ($2::text[] is null or transfers.feature = any($2))
    and ($3::timestamptz is null or transfers.period_at >= $3)

group by
    transfers.tenant,
    case when $10::boolean then transfers.feature else 'any' end,
    case when $11::boolean then transfers.provider else 'any' end,
    case when $11::boolean then transfers.model else 'any' end,
    case when $11::boolean then transfers.region end,
    case when $6::boolean then transfers.run end,
    case when $7::boolean then transfers.agent end,
    case when $8::boolean then transfers.labels end,
    case when $9::boolean or transfers.said_as is null then transfers.said_as else '{}'::jsonb end,
    case
        when transfers.period_at < $5::timestamptz then width_bucket(transfers.period_at, $4::timestamptz[])
    end,
    case when transfers.period_at >= $5::timestamptz then transfers.period_at end

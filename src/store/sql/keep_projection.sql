insert into projections (
    id, budget, counter_key, tenant, class, made_at, watermark, catalogue_version, period_start, period_end,
    limit_quantity, posted, held, p10, p50, p90, p_exhaust, expected_at_end, expected_at_end_low, expected_at_end_high,
    confidence, reasons, method, method_version, history_days, horizon_hours, horizon_expected
)
values (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
    $26, $27
)

-- Everything one batch changes, in one statement: one row per counter, however many commands touched it.
--
-- The parts touch different tables, so that they may share one snapshot. Rows that replicas share (rollup, refusal
-- counts) arrive sorted by key, so that two replicas take their locks in one order.
-- The answer says how many idempotency keys were free (fewer than were sent: one was answered before), and how many
-- counters and reservations were changed (fewer than were sent: a row is missing). Then the batch is rolled back and
-- decided again.
with granted as (
    insert into reservations (
        id, tenant, feature, provider, model, region, run, agent, labels, priority, service_tier, requests, input,
        cache_read, cache_write_5m, cache_write_1h, output, reasoning, tokens, usd, gco2e_usage_location,
        gco2e_usage_market, gco2e_embodied, price, price_tier_from, carbon_profile, model_factor, grid_factor,
        market_factor, flags, granted_at, expires_at, state, ended_at, transfer, learned, said_as, held_at
    )
    select
        new.id, new.tenant, new.feature, new.provider, new.model, new.region, new.run, new.agent, new.labels::jsonb,
        new.priority, new.service_tier, new.requests, new.input, new.cache_read, new.cache_write_5m,
        new.cache_write_1h, new.output, new.reasoning, new.tokens, new.usd, new.gco2e_usage_location,
        new.gco2e_usage_market, new.gco2e_embodied, new.price, new.price_tier_from, new.carbon_profile,
        new.model_factor, new.grid_factor, new.market_factor, new.flags, new.granted_at, new.expires_at, new.state,
        new.ended_at, new.transfer, new.learned::jsonb, new.said_as::jsonb, new.held_at
    from unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::text[], $11::text[], $12::integer[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[],
        $17::bigint[], $18::bigint[], $19::bigint[], $20::numeric[], $21::numeric[], $22::numeric[], $23::numeric[],
        $24::bigint[], $25::bigint[], $26::text[], $27::bigint[], $28::bigint[], $29::bigint[], $30::integer[],
        $31::timestamptz[], $32::timestamptz[], $33::text[], $34::timestamptz[], $35::uuid[], $147::text[],
        $151::text[], $154::timestamptz[]
    ) as new (
        id, tenant, feature, provider, model, region, run, agent, labels, priority, service_tier, requests, input,
        cache_read, cache_write_5m, cache_write_1h, output, reasoning, tokens, usd, gco2e_usage_location,
        gco2e_usage_market, gco2e_embodied, price, price_tier_from, carbon_profile, model_factor, grid_factor,
        market_factor, flags, granted_at, expires_at, state, ended_at, transfer, learned, said_as, held_at
    )
),
changed as (
    update reservations as reservation
    set
        output = change.output,
        tokens = change.tokens,
        usd = change.usd,
        gco2e_usage_location = change.gco2e_usage_location,
        gco2e_usage_market = change.gco2e_usage_market,
        gco2e_embodied = change.gco2e_embodied,
        flags = change.flags,
        expires_at = change.expires_at,
        state = change.state,
        ended_at = change.ended_at,
        transfer = change.transfer,
        learned = change.learned::jsonb,
        held_at = change.held_at
    from unnest(
        $36::uuid[], $37::text[], $38::bigint[], $39::bigint[], $40::numeric[], $41::numeric[], $42::numeric[],
        $43::numeric[], $44::integer[], $45::timestamptz[], $46::text[], $47::timestamptz[], $48::uuid[],
        $148::text[], $155::timestamptz[]
    ) as change (
        id, tenant, output, tokens, usd, gco2e_usage_location, gco2e_usage_market, gco2e_embodied, flags, expires_at,
        state, ended_at, transfer, learned, held_at
    )
    where reservation.id = change.id and reservation.tenant = change.tenant
    returning 1
),
posted as (
    insert into transfers (
        tenant, id, kind, debit_account, credit_account, feature, provider, model, requested_model, region, run,
        agent, labels, requests, input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, tokens, usd,
        gco2e_usage_location, gco2e_usage_market, gco2e_embodied, price, price_tier_from, carbon_profile,
        model_factor, grid_factor, market_factor, flags, outcome, latency_ms, provider_request_id, provider_usd,
        occurred_at, recorded_at, period_at, reservation, priority, direction, corrects, said_as
    )
    select
        new.tenant, new.id, new.kind, new.debit_account, new.credit_account, new.feature, new.provider, new.model,
        new.requested_model, new.region, new.run, new.agent, new.labels::jsonb, new.requests, new.input,
        new.cache_read, new.cache_write_5m, new.cache_write_1h, new.output, new.reasoning, new.tokens, new.usd,
        new.gco2e_usage_location, new.gco2e_usage_market, new.gco2e_embodied, new.price, new.price_tier_from,
        new.carbon_profile, new.model_factor, new.grid_factor, new.market_factor, new.flags, new.outcome,
        new.latency_ms, new.provider_request_id, new.provider_usd, new.occurred_at, new.recorded_at, new.period_at,
        new.reservation, new.priority, new.direction, new.corrects, new.said_as::jsonb
    from unnest(
        $49::text[], $50::uuid[], $51::text[], $52::text[], $53::text[], $54::text[], $55::text[], $56::text[],
        $57::text[], $58::text[], $59::text[], $60::text[], $61::text[], $62::integer[], $63::bigint[],
        $64::bigint[], $65::bigint[], $66::bigint[], $67::bigint[], $68::bigint[], $69::bigint[], $70::numeric[],
        $71::numeric[], $72::numeric[], $73::numeric[], $74::bigint[], $75::bigint[], $76::text[], $77::bigint[],
        $78::bigint[], $79::bigint[], $80::integer[], $81::text[], $82::integer[], $83::text[], $84::numeric[],
        $85::timestamptz[], $86::timestamptz[], $87::timestamptz[], $88::uuid[], $89::text[],
        $90::smallint[], $91::uuid[], $152::text[]
    ) as new (
        tenant, id, kind, debit_account, credit_account, feature, provider, model, requested_model, region, run,
        agent, labels, requests, input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, tokens, usd,
        gco2e_usage_location, gco2e_usage_market, gco2e_embodied, price, price_tier_from, carbon_profile,
        model_factor, grid_factor, market_factor, flags, outcome, latency_ms, provider_request_id, provider_usd,
        occurred_at, recorded_at, period_at, reservation, priority, direction, corrects, said_as
    )
),
counted as (
    update counters as counter
    set
        posted = change.posted,
        held = change.held,
        margin = change.margin,
        at_risk = change.at_risk,
        opened_at = change.opened_at
    from unnest(
        $92::integer[], $93::text[], $94::timestamptz[], $95::numeric[], $96::numeric[], $149::numeric[], $150::numeric[],
        $156::timestamptz[]
    ) as change (
        budget, key, period_start, posted, held, margin, at_risk, opened_at
    )
    where counter.budget = change.budget and counter.key = change.key and counter.period_start = change.period_start
    returning 1
),
-- Slices of sliding windows are made when they first count something, by whoever holds the row of their window.
sliced as (
    insert into counters (
        budget, key, period_start, period_end, tenant, posted, held, margin, at_risk
    )
    select
        new.budget, new.key, new.period_start, new.period_end, new.tenant, new.posted, new.held, new.margin, new.at_risk
    from unnest(
        $157::integer[], $158::text[], $159::timestamptz[], $160::timestamptz[], $161::text[], $162::numeric[],
        $163::numeric[], $164::numeric[], $165::numeric[]
    ) as new (
        budget, key, period_start, period_end, tenant, posted, held, margin, at_risk
    )
    on conflict (budget, key, period_start) do nothing
    returning 1
),
told as (
    update windows as anchor
    set slices = anchor.slices + 1
    from unnest($166::integer[], $167::text[]) as made (budget, key)
    where anchor.budget = made.budget and anchor.key = made.key
),
rolled_up as (
    insert into usage_rollup as rollup (
        tenant, quarter, feature, provider, model, region, priority, requests, input, cache_read, cache_write_5m,
        cache_write_1h, output, reasoning, usd, gco2e_usage_location, gco2e_usage_market, gco2e_embodied
    )
    select
        new.tenant, new.quarter, new.feature, new.provider, new.model, new.region, new.priority, new.requests, new.input,
        new.cache_read, new.cache_write_5m, new.cache_write_1h, new.output, new.reasoning, new.usd,
        new.gco2e_usage_location, new.gco2e_usage_market, new.gco2e_embodied
    from unnest(
        $97::text[], $98::timestamptz[], $99::text[], $100::text[], $101::text[], $102::text[], $103::text[], $104::bigint[],
        $105::bigint[], $106::bigint[], $107::bigint[], $108::bigint[], $109::bigint[], $110::bigint[],
        $111::numeric[], $112::numeric[], $113::numeric[], $114::numeric[]
    ) as new (
        tenant, quarter, feature, provider, model, region, priority, requests, input, cache_read, cache_write_5m,
        cache_write_1h, output, reasoning, usd, gco2e_usage_location, gco2e_usage_market, gco2e_embodied
    )
    on conflict (tenant, quarter, feature, provider, model, region, priority) do update
    -- A sum that its column cannot hold is the most that it can: what is posted is in the journal, and no batch fails for it.
    set
        requests = least(greatest(rollup.requests::numeric + excluded.requests, -9223372036854775808), 9223372036854775807)::bigint,
        input = least(greatest(rollup.input::numeric + excluded.input, -9223372036854775808), 9223372036854775807)::bigint,
        cache_read = least(greatest(rollup.cache_read::numeric + excluded.cache_read, -9223372036854775808), 9223372036854775807)::bigint,
        cache_write_5m = least(greatest(rollup.cache_write_5m::numeric + excluded.cache_write_5m, -9223372036854775808), 9223372036854775807)::bigint,
        cache_write_1h = least(greatest(rollup.cache_write_1h::numeric + excluded.cache_write_1h, -9223372036854775808), 9223372036854775807)::bigint,
        output = least(greatest(rollup.output::numeric + excluded.output, -9223372036854775808), 9223372036854775807)::bigint,
        reasoning = least(greatest(rollup.reasoning::numeric + excluded.reasoning, -9223372036854775808), 9223372036854775807)::bigint,
        usd = least(greatest(rollup.usd + excluded.usd, -9999999999999999.999999999999), 9999999999999999.999999999999),
        gco2e_usage_location = least(greatest(rollup.gco2e_usage_location + excluded.gco2e_usage_location, -9999999999999999999.999999999), 9999999999999999999.999999999),
        gco2e_usage_market = least(greatest(rollup.gco2e_usage_market + excluded.gco2e_usage_market, -9999999999999999999.999999999), 9999999999999999999.999999999),
        gco2e_embodied = least(greatest(rollup.gco2e_embodied + excluded.gco2e_embodied, -9999999999999999999.999999999), 9999999999999999999.999999999)
),
refused as (
    insert into refusals (
        tenant, id, feature, provider, model, run, agent, priority, verdict, reason, budget, key, answer, refused_at
    )
    select
        new.tenant, new.id, new.feature, new.provider, new.model, new.run, new.agent, new.priority, new.verdict,
        new.reason, new.budget, new.key, new.answer::jsonb, new.refused_at
    from unnest(
        $115::text[], $116::uuid[], $117::text[], $118::text[], $119::text[], $120::text[], $121::text[],
        $122::text[], $123::text[], $124::text[], $125::text[], $126::text[], $127::text[], $128::timestamptz[]
    ) as new (
        tenant, id, feature, provider, model, run, agent, priority, verdict, reason, budget, key, answer, refused_at
    )
),
refused_counts as (
    insert into refusal_counts as counted (
        tenant, minute, budget, feature, verdict, reason, count, first_at, last_at, answer
    )
    select
        new.tenant, new.minute, new.budget, new.feature, new.verdict, new.reason, new.count, new.first_at,
        new.last_at, new.answer::jsonb
    from unnest(
        $129::text[], $130::timestamptz[], $131::text[], $132::text[], $133::text[], $134::text[], $135::bigint[],
        $136::timestamptz[], $137::timestamptz[], $138::text[]
    ) as new (
        tenant, minute, budget, feature, verdict, reason, count, first_at, last_at, answer
    )
    on conflict (tenant, minute, budget, feature, verdict, reason) do update
    set
        count = counted.count + excluded.count,
        last_at = excluded.last_at,
        answer = excluded.answer
),
came_this_far as (
    insert into lanes (id, batch, recorded_at)
    values ($139, $140, $141)
    on conflict (id) do update
    set
        batch = excluded.batch,
        recorded_at = excluded.recorded_at
),
remembered as (
    insert into idempotency_keys as known (
        space, key, fingerprint, answer, recorded_at, replay_until
    )
    select
        new.space, new.key, new.fingerprint, new.answer, new.recorded_at, coalesce(new.replay_until, 'infinity')
    from unnest(
        $142::text[], $143::text[], $144::bytea[], $145::text[], $146::timestamptz[], $153::timestamptz[]
    ) as new (
        space, key, fingerprint, answer, recorded_at, replay_until
    )
    -- An item of many that the release before has answered, under the key that it gave to items.
    where not exists (
        select from idempotency_keys as older
        where
            older.space = new.space
            and older.key = case when position(' ' in new.key) > 0 then replace(new.key, ' ', '/') end
            and older.fingerprint = new.fingerprint
            and older.replay_until is null
            and not starts_with(older.answer, '{"v":"wait"')
    )
    -- A refusal whose time has passed makes room for what is decided now. Nothing else does: also when two replicas race,
    -- because whoever comes second looks at the row that the first one left.
    on conflict (space, key) do update
    set
        fingerprint = excluded.fingerprint,
        answer = excluded.answer,
        recorded_at = excluded.recorded_at,
        replay_until = excluded.replay_until
    where
        known.replay_until <= excluded.recorded_at
        or (
            known.replay_until is null
            and (starts_with(known.answer, '{"v":"wait"') or starts_with(known.answer, '{"verdict":"wait"'))
        )
    returning 1
)
select
    (select count(*) from remembered),
    (select count(*) from counted) + (select count(*) from sliced),
    (select count(*) from changed)

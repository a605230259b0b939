//! The books, checked from nothing: every counter and every row of the roll-up against the journal and the reservations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use counterfoil::domain::amounts::{Amounts, Grams, Quantity, Tokens, Usd};
use counterfoil::domain::budget::measure::Consumption;
use counterfoil::domain::budget::recount::Recount;
use counterfoil::domain::budget::scope::{Dimensions, SaidAs, Spelling};
use counterfoil::domain::id::{FeatureId, LabelKey, LabelValue, TenantId};
use counterfoil::domain::usage::Usage;
use counterfoil::store::catalogue;
use counterfoil::wire::learned::{LearnedHoldDoc, learned_holds};
use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::types::Json;

/// Every difference there is. None is what is wanted.
pub(crate) async fn findings(pool: &PgPool) -> Vec<String> {
    let mut findings = counters(pool).await;
    for (what, sql) in STATEMENTS {
        let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(pool).await.unwrap();
        findings.extend(rows.into_iter().map(|row| format!("{what}: {row}")));
    }
    findings
}

/// Panics with every difference there is.
#[track_caller]
pub(crate) fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "{} differences:\n{}", findings.len(), findings.join("\n"));
}

const STATEMENTS: [(&str, &str); 5] = [
    (
        "the trial balance is not zero",
        "select unit || ' ' || difference from trial_balance('infinity') where difference <> 0",
    ),
    (
        "the roll-up differs from the journal",
        "select (coalesce(kept, counted))::text from (
            select tenant, quarter, feature, provider, model, region, priority, requests, input, cache_read, cache_write_5m,
                cache_write_1h, output, reasoning, usd, gco2e_usage_location, gco2e_usage_market, gco2e_embodied
            from usage_rollup
        ) as kept
        full join (
            select tenant, date_bin('15 minutes', period_at, 'epoch') as quarter, feature, provider, model,
                coalesce(region, '') as region, priority, least(sum(direction * requests), 9223372036854775807)::bigint as requests, least(sum(direction * input), 9223372036854775807)::bigint as input,
                least(sum(direction * cache_read), 9223372036854775807)::bigint as cache_read, least(sum(direction * cache_write_5m), 9223372036854775807)::bigint as cache_write_5m,
                least(sum(direction * cache_write_1h), 9223372036854775807)::bigint as cache_write_1h, least(sum(direction * output), 9223372036854775807)::bigint as output,
                least(sum(direction * reasoning), 9223372036854775807)::bigint as reasoning, sum(direction * usd) as usd, sum(direction * gco2e_usage_location) as gco2e_usage_location,
                sum(direction * gco2e_usage_market) as gco2e_usage_market, sum(direction * gco2e_embodied) as gco2e_embodied
            from transfers
            group by 1, 2, 3, 4, 5, 6, 7
        ) as counted
        using (tenant, quarter, feature, provider, model, region, priority)
        where kept is distinct from counted",
    ),
    (
        "a reservation was settled more than once",
        // An estimate that was posted at the expiry (flag 512) gives its place to what was known after all.
        "select reservation::text
        from transfers
        where reservation is not null
            and not (flags & 512 <> 0 and exists (select from transfers as later where later.corrects = transfers.id))
        group by reservation
        having count(*) > 1",
    ),
    (
        "a reservation and its transfer do not name each other",
        "select coalesce(reservations.id, transfers.id)::text
        from reservations
        full join transfers on transfers.reservation = reservations.id
        where (
                transfers.reservation is not null
                and transfers.id is distinct from reservations.transfer
                and not (
                    transfers.flags & 512 <> 0
                    and exists (select from transfers as later where later.corrects = transfers.id)
                )
            )
            or (reservations.transfer is not null and transfers.id is null)",
    ),
    (
        "a key is remembered for an answer whose effect is not there",
        // The names are those of `wire::kept`: a posting's transfer, a verdict's grant; the others keep theirs.
        "select key from idempotency_keys as known
        cross join lateral (select answer::jsonb as told) as parsed
        where (told ->> 't') is not null and not exists (select from transfers where id = (told ->> 't')::uuid)
        union all
        select key from idempotency_keys as known
        cross join lateral (
            select coalesce(answer::jsonb -> 'g' ->> 0, answer::jsonb ->> 'i', answer::jsonb ->> 'reservation') as held
        ) as parsed
        where held is not null and not exists (select from reservations where id = held::uuid)",
    ),
];

async fn counters(pool: &PgPool) -> Vec<String> {
    let mut connection = pool.acquire().await.unwrap();
    let catalogue = catalogue::load(&mut connection).await.unwrap();
    let mut recount = Recount::new(&catalogue, Vec::new());
    for row in sqlx::query("select *, period_at as counted_at from transfers").fetch_all(pool).await.unwrap() {
        let (call, at, moved) = (dimensions(&row), row.get("counted_at"), consumption(&row));
        let is_forward = row.get::<i16, _>("direction") == 1;
        if is_forward { recount.post(&call, at, &moved) } else { recount.take_back(&call, at, &moved) }.unwrap();
    }
    let open = "select *, coalesce(held_at, granted_at) as counted_at from reservations where state = 'open'";
    for row in sqlx::query(open).fetch_all(pool).await.unwrap() {
        let learned: Option<Json<Vec<LearnedHoldDoc>>> = row.get("learned");
        let learned = learned_holds(&learned.map(|Json(docs)| docs).unwrap_or_default()).unwrap();
        recount.hold(&dimensions(&row), row.get("counted_at"), &consumption(&row), &learned).unwrap();
    }
    type Key = (i32, String, chrono::DateTime<chrono::Utc>);
    // Posted, held, margin, at risk.
    type Numbers = [Decimal; 4];
    let wanted: BTreeMap<Key, Numbers> = recount
        .finish()
        .into_iter()
        .map(|(id, counted)| {
            let counter = counted.counter;
            let numbers = [counter.posted, counter.held, counter.margin, counter.at_risk].map(Quantity::decimal);
            ((id.budget.0, id.key.as_str().to_owned(), id.start), numbers)
        })
        .collect();
    let kept: BTreeMap<Key, Numbers> =
        sqlx::query("select budget, key, period_start, posted, held, margin, at_risk from counters")
            .fetch_all(pool)
            .await
            .unwrap()
            .iter()
            .map(|row| ((row.get(0), row.get(1), row.get(2)), [3, 4, 5, 6].map(|place| row.get(place))))
            .collect();
    let nothing = [Decimal::ZERO; 4];
    let ids: BTreeSet<&Key> = wanted.keys().chain(kept.keys()).collect();
    let differs = |id: &&Key| wanted.get(*id).unwrap_or(&nothing) != kept.get(*id).unwrap_or(&nothing);
    let tell = |id: &Key| format!("counter {id:?} is {:?}, must be {:?}", kept.get(id), wanted.get(id));
    ids.into_iter().filter(differs).map(tell).collect()
}

fn dimensions(row: &PgRow) -> Dimensions {
    fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(row: &PgRow, column: &str) -> Option<T> {
        row.get::<Option<&str>, _>(column).map(|text| text.parse().unwrap())
    }
    let labels: Option<Json<BTreeMap<String, String>>> = row.get("labels");
    let label = |(key, value): (String, String)| (LabelKey::parse(&key).unwrap(), LabelValue::parse(&value).unwrap());
    Dimensions {
        tenant: TenantId::stored(row.get("tenant")).unwrap(),
        feature: FeatureId::stored(row.get("feature")).unwrap(),
        provider: name(row, "provider").unwrap(),
        model: name(row, "model").unwrap(),
        region: name(row, "region"),
        run: name(row, "run"),
        agent: name(row, "agent"),
        labels: Arc::new(labels.map(|Json(labels)| labels).unwrap_or_default().into_iter().map(label).collect()),
        spelling: spelling(row),
    }
}

/// Read by hand, so that the service's own reading is audited too.
fn spelling(row: &PgRow) -> Spelling {
    let Some(Json(said)) = row.get::<Option<Json<BTreeMap<String, String>>>, _>("said_as") else {
        return Spelling::AsSaid;
    };
    let text = |key: &str| said.get(key).map(String::as_str);
    let said = SaidAs {
        provider: text("provider").map(|name| name.parse().unwrap()),
        model: text("model").map(|name| name.parse().unwrap()),
        served_model: text("served_model").map(|name| name.parse().unwrap()),
    };
    Spelling::Named((said != SaidAs::default()).then(|| Arc::new(said)))
}

fn consumption(row: &PgRow) -> Consumption {
    let tokens = |column: &str| Tokens::new(u64::try_from(row.get::<i64, _>(column)).unwrap()).unwrap();
    let grams = |column: &str| Grams::new(row.get(column)).unwrap();
    Consumption {
        requests: u32::try_from(row.get::<i32, _>("requests")).unwrap(),
        usage: Usage {
            input: tokens("input"),
            cache_read: tokens("cache_read"),
            cache_write_5m: tokens("cache_write_5m"),
            cache_write_1h: tokens("cache_write_1h"),
            output: tokens("output"),
            reasoning: tokens("reasoning"),
        },
        amounts: Amounts {
            tokens: tokens("tokens"),
            usd: Usd::new(row.get("usd")).unwrap(),
            gco2e_usage_location: grams("gco2e_usage_location"),
            gco2e_usage_market: grams("gco2e_usage_market"),
            gco2e_embodied: grams("gco2e_embodied"),
        },
    }
}

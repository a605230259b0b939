//! Budgets as callers write them: what is taken, and what is refused by which name.

use serde_json::{Value, json};

use super::*;

/// JSON as the HTTP room reads it: the path of what is wrong, and why.
fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, FieldError> {
    let text = value.to_string();
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(&text))
        .map_err(|error| FieldError::new(error.path().to_string(), error.inner()))
}

fn record() -> BudgetRecord {
    BudgetRecord { number: BudgetNumber(7), version: 3, counted_from: DateTime::UNIX_EPOCH }
}

fn to_budget(value: &Value) -> Result<Budget, FieldError> {
    let id = value.get("id").and_then(Value::as_str).unwrap_or("b");
    read::<BudgetBody>(value)?.to_budget(id.parse().unwrap(), record())
}

/// A sound budget with some fields replaced; null takes one away.
fn with(changes: &Value) -> Value {
    let mut budget = json!({
        "measure": "tokens", "limit": "10", "period": {"kind": "day"}, "enforcement": "hard",
    });
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            budget.as_object_mut().unwrap().remove(key);
        } else {
            budget[key] = value.clone();
        }
    }
    budget
}

#[track_caller]
fn refused(changes: &Value, field: &str, words: &str) {
    match to_budget(&with(changes)) {
        Err(error) => {
            assert_eq!(error.field, field, "{changes}: {error}");
            assert!(error.detail.contains(words), "{changes}: {error}");
        }
        Ok(budget) => panic!("{changes} became {budget:?}"),
    }
}

#[test]
fn the_budgets_of_the_design_are_taken() {
    let monthly = to_budget(&json!({
        "id": "acme-monthly-usd", "scope": {"tenant": "acme"}, "each": null, "measure": "usd", "limit": "500",
        "period": {"kind": "month", "anchor_day": 1}, "timezone": "tenant", "enforcement": "hard",
        "thresholds": ["0.8", "0.95"], "floors": {"interactive": "0.4"}
    }))
    .unwrap();
    assert_eq!(monthly.scope.tenant, Some("acme".parse().unwrap()));
    assert_eq!((monthly.measure, monthly.limit.to_string()), (Measure::Usd, "500".to_owned()));
    assert_eq!((monthly.period, monthly.clock), (PeriodSpec::MONTH, BudgetClock::Tenant));
    assert_eq!(
        (monthly.enforcement, monthly.kind, monthly.each.as_ref()),
        (Enforcement::Hard, BudgetKind::Budget, None)
    );
    assert_eq!(monthly.ceiling(Priority::Standard).to_string(), "300");
    assert_eq!((monthly.number, monthly.version, monthly.id.as_str()), (BudgetNumber(7), 3, "acme-monthly-usd"));

    let quota = to_budget(&json!({
        "id": "anthropic-quota", "scope": {"provider": "anthropic"},
        "measure": {"input": 1, "cache_write_5m": 1, "cache_write_1h": 1, "output": 5, "reasoning": 5},
        "limit": "40000000", "period": {"kind": "month", "anchor_day": 1}, "timezone": "Etc/UTC", "enforcement": "hard",
        "kind": "quota", "contract": "…"
    }))
    .unwrap();
    let weights = [1, 0, 1, 1, 5, 5].map(Decimal::from);
    assert_eq!(
        (quota.measure, quota.kind),
        (Measure::Weighted(BucketWeights::new(weights).unwrap()), BudgetKind::Quota)
    );

    let per_run = to_budget(&json!({
        "id": "per-run", "scope": {}, "each": "run", "measure": "usd", "limit": "2", "period": {"kind": "once"},
        "enforcement": "hard"
    }))
    .unwrap();
    assert_eq!((per_run.each, per_run.period), (Some(Each::Run), PeriodSpec::Once));
    assert_eq!(per_run.clock, BudgetClock::Fixed(Zone::parse("Etc/UTC").unwrap()), "UTC where no zone is given");
}

#[test]
fn the_period_specs_of_the_design_are_taken() {
    let table = [
        (json!({"kind": "hour"}), "hour"),
        (json!({"kind": "day"}), "day at 00:00"),
        (json!({"kind": "day", "at": "09:30"}), "day at 09:30"),
        (json!({"kind": "week"}), "week from Mon at 00:00"),
        (json!({"kind": "week", "week_start": "sun", "at": "06:00"}), "week from Sun at 06:00"),
        (json!({"kind": "month"}), "month from day 1 at 00:00"),
        (json!({"kind": "month", "anchor_day": 31, "at": "09:00"}), "month from day 31 at 09:00"),
        (json!({"kind": "months", "every": 3, "anchor_date": "2025-11-30"}), "3 months from 2025-11-30 at 00:00"),
        (json!({"kind": "quarter"}), "quarter"),
        (json!({"kind": "year"}), "year"),
        (json!({"kind": "year", "anchor_date": "2024-02-29"}), "year from 2024-02-29"),
        (
            json!({"kind": "fixed", "seconds": 604_800, "anchor_instant": "2026-03-26T17:00:00Z"}),
            "fixed 604800 s from 2026-03-26T17:00:00Z",
        ),
        (json!({"kind": "sliding", "seconds": 600}), "sliding 600 s"),
        (json!({"kind": "once"}), "once"),
    ];
    for (period, expected) in table {
        let budget = to_budget(&with(&json!({"period": period}))).unwrap();
        assert_eq!(budget.period.to_string(), expected);
    }
}

#[test]
fn a_wrong_period_is_refused_and_the_field_named() {
    let table = [
        (json!({"kind": "fortnight"}), "period.kind", "unknown variant"),
        (json!({}), "period", "missing field `kind`"),
        (json!({"kind": "day", "anchor_day": 3}), "period.anchor_day", "does not go with"),
        (json!({"kind": "hour", "at": "09:00"}), "period.at", "does not go with"),
        (json!({"kind": "once", "seconds": 5}), "period.seconds", "does not go with"),
        (json!({"kind": "month", "week_start": "mon"}), "period.week_start", "does not go with"),
        (json!({"kind": "month", "every": 2}), "period.every", "does not go with"),
        (json!({"kind": "week", "anchor_date": "2026-01-01"}), "period.anchor_date", "does not go with"),
        (
            json!({"kind": "sliding", "seconds": 60, "anchor_instant": "2026-01-01T00:00:00Z"}),
            "period.anchor_instant",
            "does not go with",
        ),
        (json!({"kind": "month", "anchor_day": 0}), "period.anchor_day", "not between 1 and 31"),
        (json!({"kind": "month", "anchor_day": 32}), "period.anchor_day", "not between 1 and 31"),
        (json!({"kind": "month", "anchor_day": 300}), "period.anchor_day", "invalid value"),
        (json!({"kind": "month", "at": "9:00"}), "period.at", "not a time of day"),
        (json!({"kind": "day", "at": "24:00"}), "period.at", "not a time of day"),
        (json!({"kind": "months", "every": 3}), "period.anchor_date", "is needed"),
        (json!({"kind": "months", "anchor_date": "2026-01-01"}), "period.every", "is needed"),
        (json!({"kind": "months", "every": 0, "anchor_date": "2026-01-01"}), "period.every", "not between"),
        (
            json!({"kind": "months", "every": 3, "anchor_date": "2026-02-30"}),
            "period.anchor_date",
            "no day of the calendar",
        ),
        (json!({"kind": "year", "anchor_date": "0001-01-01"}), "period.anchor_date", "not between"),
        (json!({"kind": "fixed", "seconds": 60}), "period.anchor_instant", "is needed"),
        (json!({"kind": "fixed", "anchor_instant": "2026-01-01T00:00:00Z"}), "period.seconds", "is needed"),
        (json!({"kind": "sliding"}), "period.seconds", "is needed"),
        (json!({"kind": "sliding", "seconds": 0}), "period.seconds", "not between"),
        (json!({"kind": "sliding", "seconds": 4_000_000_000_u32}), "period.seconds", "not between"),
        (json!({"kind": "sliding", "seconds": -5}), "period.seconds", "invalid value"),
        (json!({"kind": "sliding", "secs": 5}), "period.secs", "unknown field"),
    ];
    for (period, field, words) in table {
        refused(&json!({"period": period}), field, words);
    }
}

#[test]
fn a_wrong_field_of_a_budget_is_refused_and_named() {
    let many: BTreeMap<String, &str> = (0..17).map(|number| (format!("k{number}"), "v")).collect();
    let table = [
        (json!({"limit": null}), ".", "missing field `limit`"),
        (json!({"measure": null}), ".", "missing field `measure`"),
        (json!({"enforcement": null}), ".", "missing field `enforcement`"),
        (json!({"limits": "5"}), "limits", "unknown field"),
        (json!({"id": "other", "limit": "-1"}), "limit", "must not be negative"),
        (json!({"limit": "ten"}), "limit", "not a decimal number"),
        (json!({"limit": 0.1}), "limit", "write it as a string"),
        (json!({"limit": "1e3"}), "limit", "not a decimal number"),
        (json!({"limit": "0.0000000000001"}), "limit", "more than 12 decimal places"),
        (json!({"limit": "10000000000000000"}), "limit", "larger than the ledger can keep"),
        (json!({"limit": "1.00000000000000000000000000000000001"}), "limit", "not a decimal number"),
        (json!({"limit": "99999999999999999999999999999999999"}), "limit", "not a decimal number"),
        (json!({"measure": "dollars"}), "measure", "expected one of `requests`"),
        (json!({"measure": {"inputs": 1}}), "measure.inputs", "unknown field"),
        (json!({"measure": 5}), "measure", "invalid type"),
        (json!({"measure": {}}), "measure", "at least one weight"),
        (json!({"measure": {"input": -1}}), "measure", "between 0 and 1000"),
        (json!({"measure": {"input": 1001}}), "measure", "between 0 and 1000"),
        (json!({"measure": {"input": "0.0000001"}}), "measure", "at most 6 decimal places"),
        (json!({"measure": {"input": "five"}}), "measure.input", "not a decimal number"),
        (json!({"each": "galaxy"}), "each", "label:<key>"),
        (json!({"each": "label:"}), "each", "is empty"),
        (json!({"each": "label:a b"}), "each", "letters, digits"),
        (json!({"timezone": "Mars/Olympus"}), "timezone", "unknown time zone"),
        (json!({"timezone": "tenant"}), "timezone", "only when scope.tenant is set"),
        (json!({"timezone": "tenant", "each": "model"}), "timezone", "only when scope.tenant is set"),
        (json!({"enforcement": "firm"}), "enforcement", "unknown variant"),
        (json!({"kind": "wish"}), "kind", "unknown variant"),
        (json!({"thresholds": ["0.9", "0.8"]}), "thresholds", "ascending"),
        (json!({"thresholds": ["1.1"]}), "thresholds", "at most 1"),
        (json!({"thresholds": ["0.1234567"]}), "thresholds", "at most 6 decimal places"),
        (
            json!({"thresholds": ["0.01", "0.02", "0.03", "0.04", "0.05", "0.06", "0.07", "0.08", "0.09", "0.1", "0.2"]}),
            "thresholds",
            "at most 10",
        ),
        (json!({"thresholds": ["high"]}), "thresholds[0]", "invalid value"),
        (json!({"floors": {"interactive": "1.5"}}), "floors", "add up to at most 1"),
        (json!({"floors": {"urgent": "0.5"}}), "floors.?", "unknown variant"),
        (json!({"contract": "a\u{0}b"}), "contract", "control characters"),
        (json!({"contract": "x".repeat(501)}), "contract", "at most 500 bytes"),
        (json!({"scope": {"tenant": ""}}), "scope.tenant", "is empty"),
        (json!({"scope": {"feature": "a/b"}}), "scope.feature", "letters, digits"),
        (json!({"scope": {"provider": "a b"}}), "scope.provider", "letters, digits"),
        (json!({"scope": {"model": "a b"}}), "scope.model", "without spaces"),
        (json!({"scope": {"region": "é"}}), "scope.region", "letters, digits"),
        (json!({"scope": {"agent": ""}}), "scope.agent", "is empty"),
        (json!({"scope": {"run": "x".repeat(257)}}), "scope.run", "longer than 256 bytes"),
        (json!({"scope": {"labels": {"a b": "c"}}}), "scope.labels.a b", "letters, digits"),
        (json!({"scope": {"labels": {"team": "a\nb"}}}), "scope.labels.team", "control characters"),
        (json!({"scope": {"labels": many}}), "scope.labels", "at most 16"),
        (json!({"scope": {"team": "cx"}}), "scope.team", "unknown field"),
    ];
    for (changes, field, words) in table {
        refused(&changes, field, words);
    }
    let other = read::<BudgetBody>(&with(&json!({"id": "other"}))).unwrap().to_budget("b".parse().unwrap(), record());
    assert_eq!(other.unwrap_err().field, "id");
}

#[test]
fn weights_are_numbers_or_strings_and_limits_strings_or_whole_numbers() {
    let weights = |measure: Value| to_budget(&with(&json!({"measure": measure}))).unwrap().measure;
    let expected = Measure::Weighted(
        BucketWeights::new([Decimal::new(5, 1), 0.into(), 0.into(), 0.into(), 5.into(), 0.into()]).unwrap(),
    );
    assert_eq!(weights(json!({"input": 0.5, "output": 5})), expected);
    assert_eq!(weights(json!({"input": "0.5", "output": "5"})), expected);
    assert_eq!(weights(json!({"input": "0.500000", "output": 5.0})), expected);
    for limit in [json!("40000000"), json!(40_000_000), json!("40000000.000")] {
        assert_eq!(to_budget(&with(&json!({"limit": limit}))).unwrap().limit.to_string(), "40000000");
    }
    assert_eq!(to_budget(&with(&json!({"limit": "0"}))).unwrap().limit, Quantity::ZERO, "nothing may be spent");
    let most = "9999999999999999.999999999999";
    assert_eq!(to_budget(&with(&json!({"limit": most}))).unwrap().limit.to_string(), most);
}

#[test]
fn a_document_that_is_written_is_read_back_the_same() {
    let table = [
        json!({}),
        json!({"measure": {"input": 0.5, "output": "5"}, "each": "label:team", "kind": "quota", "contract": "Nº 7"}),
        json!({"scope": {"tenant": "acme", "labels": {"team": "Équipe A"}}, "timezone": "tenant", "floors": {"interactive": "0.4"}}),
        json!({"limit": "0.000000000001", "thresholds": ["0.800000", "1"], "timezone": "Asia/Kathmandu", "enforcement": "soft"}),
        json!({"period": {"kind": "months", "every": 3, "anchor_date": "2025-11-30", "at": "09:00"}}),
        json!({"period": {"kind": "fixed", "seconds": 60, "anchor_instant": "2026-03-26T17:00:00Z"}}),
        json!({"period": {"kind": "week", "week_start": "sat"}}),
    ];
    for changes in table {
        let body = read::<BudgetBody>(&with(&changes)).unwrap();
        let written = serde_json::to_value(&body).unwrap();
        let again = read::<BudgetBody>(&written).unwrap();
        assert_eq!(again, body);
        assert_eq!(serde_json::to_value(&again).unwrap(), written);
        let id = || "b".parse().unwrap();
        assert_eq!(again.to_budget(id(), record()), body.to_budget(id(), record()));
    }
}

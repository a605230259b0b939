use serde_json::json;

use super::*;

/// A Wednesday noon in the middle of a month, UTC.
const NOON: &str = "2026-06-10T12:00:00Z";

/// `class kind retry_at rule` of an answer.
fn meaning(signal: &Value) -> String {
    let book = bundled_rules().unwrap();
    let known = crate::wire::price::bundled_provider_names().unwrap();
    let body: SignalBody = serde_json::from_value(signal.clone()).unwrap();
    let answer = body.answer(&body.names(&known).unwrap()).unwrap();
    let signal = book.classify(&answer, NOON.parse().unwrap());
    let retry_at =
        signal.retry_at().map_or("-".to_owned(), |at| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true));
    let rule = signal.rule.map_or("-", |rule| &rule.name);
    format!("{} {} {retry_at} {rule}", signal.class.word(), signal.kind.word())
}

/// A signal of a provider: its status, headers and body.
fn answered(provider: &str, status: u16, headers: &Value, body: &Value) -> Value {
    json!({"provider": provider, "status": status, "headers": headers, "body": body})
}

fn anthropic(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"})
}

fn openai(code: &str, message: &str) -> Value {
    json!({"error": {"message": message, "type": "requests", "param": null, "code": code}})
}

fn google(quota_id: &str) -> Value {
    json!({"error": {
        "code": 429, "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota.",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.Help", "links": []},
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota_id, "quotaValue": "50"}]},
        ],
    }})
}

/// Every row of a table: an answer, and what it means.
fn check(table: &[(Value, &str)]) {
    for (signal, wanted) in table {
        assert_eq!(meaning(signal), *wanted, "{signal:#}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_budget_is_gone_as_each_provider_says_it() {
    let none = json!({});
    let mut tier = anthropic(
        "rate_limit_error",
        "You have reached your spend limit. You will regain access on 2026-09-01 at 00:00 UTC.",
    );
    tier["error"]["details"] = json!({"error_code": "enforced_spend_limit_reached"});
    let mut tier_without_instant = tier.clone();
    tier_without_instant["error"]["message"] = json!("You have reached your spend limit.");
    let own = "You have reached your specified workspace API usage limits. You will regain access on 2026-07-01 at 00:00 UTC.";
    let credit = "Your credit balance is too low to access the Anthropic API.";
    check(&[
        // Anthropic: the cap of a tier.
        (answered("anthropic", 429, &none, &tier), "stop quota 2026-09-01T00:00:00Z anthropic-tier-spend-limit"),
        (
            answered("anthropic", 429, &none, &tier_without_instant),
            "stop quota 2026-07-01T00:00:00Z anthropic-tier-spend-limit",
        ),
        // Anthropic: a limit of one's own.
        (
            answered("anthropic", 400, &none, &anthropic("invalid_request_error", own)),
            "stop quota 2026-07-01T00:00:00Z anthropic-own-usage-limit",
        ),
        // Anthropic: credit.
        (
            answered("anthropic", 400, &none, &anthropic("invalid_request_error", credit)),
            "stop credit - anthropic-credit-balance",
        ),
        (
            answered("anthropic", 402, &none, &anthropic("billing_error", "Payment required.")),
            "stop credit - anthropic-billing",
        ),
        // OpenAI: credit or tier.
        (
            answered("openai", 429, &none, &openai("insufficient_quota", "You exceeded your current quota.")),
            "stop credit - openai-credit",
        ),
        (answered("openai", 429, &none, &openai("billing_hard_limit_reached", "")), "stop credit - openai-credit"),
        (answered("openai", 429, &none, &openai("billing_not_active", "")), "stop credit - openai-credit"),
        // OpenAI: spend limit.
        (
            answered("openai", 429, &none, &openai("organization_spend_limit_exceeded", "")),
            "stop quota 2026-07-01T00:00:00Z openai-spend-limit",
        ),
        (
            answered("openai", 429, &none, &openai("project_spend_limit_exceeded", "")),
            "stop quota 2026-07-01T00:00:00Z openai-spend-limit",
        ),
        // OpenAI: throttle.
        (
            answered(
                "openai",
                429,
                &json!({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-requests": "9", "x-ratelimit-reset-requests": "1h0m0s"}),
                &openai("rate_limit_exceeded", "Rate limit reached."),
            ),
            "wait rate_limit 2026-06-10T12:06:00Z openai-throttle",
        ),
        // Groq.
        (
            answered("groq", 400, &none, &openai("blocked_api_access", "")),
            "stop quota 2026-07-01T00:00:00Z groq-spend-limit",
        ),
        // Google: per day, which ends at midnight Pacific, and spend, which slides over ten minutes.
        (
            answered("gemini", 429, &none, &google("GenerateRequestsPerDayPerProjectPerModel-FreeTier")),
            "stop quota 2026-06-11T07:00:00Z google-per-day",
        ),
        (
            answered("google", 429, &none, &google("SpendLimitPerProject")),
            "stop quota 2026-06-10T12:10:00Z google-spend",
        ),
        // Azure API Management: 403 is the quota, 429 the rate.
        (
            answered(
                "azure",
                403,
                &none,
                &json!({"statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 2.09:56:13."}),
            ),
            "stop quota 2026-06-12T21:56:13Z azure-api-management-quota",
        ),
        (
            answered(
                "azure",
                429,
                &none,
                &json!({"statusCode": 429, "message": "Rate limit is exceeded. Try again in 12 seconds."}),
            ),
            "wait rate_limit 2026-06-10T12:00:12Z azure-throttle",
        ),
        // Overloaded is no limit.
        (
            answered("anthropic", 529, &none, &anthropic("overloaded_error", "Overloaded")),
            "wait pool - anthropic-overloaded",
        ),
        (
            answered(
                "openai",
                503,
                &json!({"retry-after": "5"}),
                &openai("server_error", "The engine is currently overloaded."),
            ),
            "wait pool 2026-06-10T12:00:05Z service-unavailable",
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn limits_per_minute_are_a_wait() {
    let throttled = anthropic("rate_limit_error", "This request would exceed your organization's rate limit.");
    check(&[
        // Anthropic: seconds in a header, or the reset of what is used up.
        (
            answered("anthropic", 429, &json!({"Retry-After": "30"}), &throttled),
            "wait rate_limit 2026-06-10T12:00:30Z anthropic-throttle",
        ),
        (
            answered(
                "claude",
                429,
                &json!({"anthropic-ratelimit-output-tokens-remaining": "0", "anthropic-ratelimit-output-tokens-reset": "2026-06-10T12:00:42Z"}),
                &throttled,
            ),
            "wait rate_limit 2026-06-10T12:00:42Z anthropic-output-tokens-used-up",
        ),
        // OpenAI: in words where no header says.
        (
            answered(
                "openai",
                429,
                &json!({}),
                &openai("rate_limit_exceeded", "Rate limit reached for gpt-4o. Please try again in 583ms."),
            ),
            "wait rate_limit 2026-06-10T12:00:00.583Z openai-throttle",
        ),
        // OpenAI: no minute is large enough for this call.
        (
            answered(
                "openai",
                429,
                &json!({}),
                &openai(
                    "rate_limit_exceeded",
                    "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 35000.",
                ),
            ),
            "cap rate_limit - openai-request-too-large",
        ),
        // Azure OpenAI: milliseconds.
        (
            answered(
                "azure.ai.openai",
                429,
                &json!({"retry-after-ms": "1500", "retry-after": "2"}),
                &openai("429", ""),
            ),
            "wait rate_limit 2026-06-10T12:00:01.500Z azure-throttle",
        ),
        // Bedrock: the minute, and the day, of which it does not say when it ends.
        (
            answered(
                "bedrock",
                429,
                &json!({"x-amzn-ErrorType": "ThrottlingException:http://internal"}),
                &json!({"message": "Too many tokens, please wait before trying again."}),
            ),
            "wait rate_limit - bedrock-throttle",
        ),
        (
            answered(
                "aws",
                429,
                &json!({}),
                &json!({"__type": "com.amazon#ThrottlingException", "message": "Too many requests"}),
            ),
            "wait rate_limit - bedrock-throttle-by-type",
        ),
        (
            answered(
                "aws",
                429,
                &json!({"x-amzn-errortype": "ThrottlingException"}),
                &json!({"message": "Too many tokens per day, please wait before trying again."}),
            ),
            "stop quota - bedrock-per-day",
        ),
        // Gemini: the minute.
        (
            answered("gemini", 429, &json!({}), &google("GenerateContentInputTokensPerModelPerMinute-FreeTier")),
            "wait rate_limit 2026-06-10T12:01:00Z google-per-minute",
        ),
        // Vertex' shared pool is busy.
        (
            answered(
                "vertex_ai",
                429,
                &json!({}),
                &json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Resource exhausted, please try again later."}}),
            ),
            "wait pool - vertex-shared-pool",
        ),
        (
            answered("groq", 429, &json!({"retry-after": "7"}), &openai("rate_limit_exceeded", "")),
            "wait rate_limit 2026-06-10T12:00:07Z groq-throttle",
        ),
    ]);
}

/// The headers of a Claude subscription.
fn unified(headers: &[(&str, &str)]) -> Value {
    headers.iter().map(|(name, value)| (format!("anthropic-ratelimit-unified-{name}"), json!(value))).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn limits_of_subscriptions_are_quotas_and_not_throttles() {
    let none = json!({});
    let used_up = |resets: &Value| {
        let mut body = json!({"error": {"type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus"}});
        for (key, value) in resets.as_object().unwrap() {
            body["error"][key] = value.clone();
        }
        body
    };
    let codex = json!({
        "X-Codex-Primary-Used-Percent": "100", "X-Codex-Primary-Window-Minutes": "300", "X-Codex-Primary-Reset-At": "1781106000",
        "X-Codex-Secondary-Used-Percent": "80", "X-Codex-Secondary-Window-Minutes": "10080", "X-Codex-Secondary-Reset-At": "1781400000",
    });
    let both = json!({
        "x-codex-primary-used-percent": "100", "x-codex-primary-window-minutes": "300", "x-codex-primary-reset-after-seconds": "600",
        "x-codex-secondary-used-percent": "100.0", "x-codex-secondary-window-minutes": "10080", "x-codex-secondary-reset-after-seconds": "86400",
    });
    let secondary = json!({
        "x-codex-primary-used-percent": "12", "x-codex-primary-reset-at": "1781106000",
        "x-codex-secondary-used-percent": "100", "x-codex-secondary-reset-at": "1781400000",
    });
    let claude =
        anthropic("rate_limit_error", "This request would exceed your account's rate limit. Please try again later.");
    let mut five_hours =
        unified(&[("status", "rejected"), ("representative-claim", "five_hour"), ("5h-reset", "1781106000")]);
    let without_retry = five_hours.clone();
    five_hours["retry-after"] = json!("13262");
    let week = unified(&[("status", "rejected"), ("representative-claim", "seven_day"), ("7d-reset", "1781400000")]);
    let opus = unified(&[("status", "rejected"), ("representative-claim", "seven_day_opus"), ("reset", "1781400000")]);
    let two = unified(&[
        ("status", "rejected"),
        ("representative-claim", "five_hour"),
        ("5h-status", "rejected"),
        ("5h-reset", "1781106000"),
        ("7d-status", "rejected"),
        ("7d-reset", "1781400000"),
    ]);
    let other = unified(&[("status", "rejected"), ("representative-claim", "overage"), ("reset", "1781106000")]);
    let allowed = unified(&[("status", "allowed_warning"), ("5h-utilization", "0.9")]);
    let gateway = |field: &str| json!({"error": {field: "budget_exceeded", "message": "Budget has been exceeded! Current cost: 12.5, Max budget: 10.0"}});
    check(&[
        // Codex: an instant, a duration, headers alone.
        (
            answered("openai", 429, &none, &used_up(&json!({"resets_at": 1_781_106_000, "resets_in_seconds": 13872}))),
            "stop quota 2026-06-10T15:40:00Z codex-usage-limit",
        ),
        (
            answered("codex", 429, &codex, &used_up(&json!({"resets_in_seconds": 13872}))),
            "stop quota 2026-06-10T15:51:12Z codex-usage-limit",
        ),
        (answered("openai", 429, &codex, &used_up(&none)), "stop quota 2026-06-10T15:40:00Z codex-usage-limit"),
        (answered("openai", 429, &none, &used_up(&none)), "stop quota - codex-usage-limit"),
        // An instant that nobody can mean.
        (
            answered("openai", 429, &none, &used_up(&json!({"resets_at": 99_999_999_999_u64}))),
            "stop quota - codex-usage-limit",
        ),
        (answered("openai", 429, &codex, &none), "stop quota 2026-06-10T15:40:00Z codex-primary-window-used-up"),
        (answered("openai", 429, &both, &none), "stop quota 2026-06-11T12:00:00Z codex-primary-window-used-up"),
        (answered("openai", 429, &secondary, &none), "stop quota 2026-06-14T01:20:00Z codex-secondary-window-used-up"),
        (
            answered("openai", 429, &none, &json!({"error": {"type": "usage_not_included"}})),
            "stop credit - codex-plan-without-usage",
        ),
        // Claude: by the claim, and of two windows that refuse the later.
        (answered("anthropic", 429, &five_hours, &claude), "stop quota 2026-06-10T15:40:00Z claude-five-hour-limit"),
        (answered("anthropic", 429, &without_retry, &none), "stop quota 2026-06-10T15:40:00Z claude-five-hour-limit"),
        (answered("anthropic", 429, &two, &claude), "stop quota 2026-06-14T01:20:00Z claude-five-hour-limit"),
        (answered("claude", 429, &week, &claude), "stop quota 2026-06-14T01:20:00Z claude-weekly-limit"),
        (answered("anthropic", 429, &opus, &claude), "stop quota 2026-06-14T01:20:00Z claude-weekly-limit"),
        (answered("anthropic", 429, &other, &claude), "stop quota 2026-06-10T15:40:00Z claude-subscription-limit"),
        (answered("anthropic", 429, &allowed, &claude), "unknown unknown - -"),
        // No limit by the minute asks for days.
        (
            answered("anthropic", 429, &json!({"retry-after": "400000"}), &claude),
            "stop quota 2026-06-15T03:06:40Z anthropic-long-throttle",
        ),
        (
            answered("anthropic", 429, &json!({"retry-after": "3600"}), &claude),
            "wait rate_limit 2026-06-10T13:00:00Z anthropic-throttle",
        ),
        // Gateways.
        (
            answered(
                "openrouter",
                402,
                &none,
                &json!({"error": {"code": 402, "message": "This request requires more credits, or fewer max_tokens."}}),
            ),
            "stop credit - openrouter-credit",
        ),
        (
            answered(
                "openrouter",
                403,
                &none,
                &json!({"error": {"code": 403, "message": "Key limit exceeded (monthly limit)."}}),
            ),
            "stop quota - openrouter-key-limit",
        ),
        (answered("openai", 429, &none, &gateway("type")), "stop quota - gateway-budget-exceeded"),
        (answered("azure", 400, &none, &gateway("code")), "stop quota - gateway-budget-exceeded-by-code"),
        (
            answered(
                "litellm",
                400,
                &none,
                &json!({"error": {"message": "ExceededBudget: User=42 over budget", "code": "400"}}),
            ),
            "stop quota - gateway-budget-exceeded-in-words",
        ),
    ]);
}

#[test]
fn what_no_rule_knows_is_unknown() {
    let none = json!({});
    check(&[
        // Neither a reset nor the word for a spend limit: the month or the minute, who knows.
        (answered("anthropic", 429, &none, &anthropic("rate_limit_error", "Slow down.")), "unknown unknown - -"),
        (answered("openai", 429, &none, &openai("something_new", "")), "unknown unknown - -"),
        (
            answered(
                "google",
                429,
                &none,
                &json!({"error": {"status": "RESOURCE_EXHAUSTED", "message": "Resource exhausted."}}),
            ),
            "unknown unknown - -",
        ),
        (
            answered("azure", 403, &none, &json!({"message": "Access denied due to invalid subscription key."})),
            "unknown unknown - -",
        ),
        (
            answered("anthropic", 400, &none, &anthropic("invalid_request_error", "max_tokens: must be positive")),
            "unknown unknown - -",
        ),
        (answered("nobody-knows", 429, &none, &json!("<html>slow down</html>")), "unknown unknown - -"),
        // The words of one provider mean nothing from another.
        (answered("mistral", 429, &none, &openai("insufficient_quota", "")), "unknown unknown - -"),
        // A header that says when is believed, whatever it is about.
        (answered("nobody-knows", 429, &json!({"retry-after": "9"}), &none), "unknown unknown 2026-06-10T12:00:09Z -"),
        (answered("openai", 500, &none, &openai("server_error", "")), "unknown unknown - -"),
        (answered("openai", 200, &none, &none), "allow none - -"),
    ]);
}

#[test]
fn a_body_that_was_sent_as_text_is_read_as_what_it_is() {
    let text = openai("insufficient_quota", "").to_string();
    check(&[(answered("openai", 429, &json!({}), &json!(text)), "stop credit - openai-credit")]);
}

#[test]
fn headers_of_limits_are_told_for_every_answer() {
    let limits = |provider: &str, headers: &Value| {
        let book = bundled_rules().unwrap();
        let known = crate::wire::price::bundled_provider_names().unwrap();
        let body: SignalBody = serde_json::from_value(answered(provider, 200, headers, &Value::Null)).unwrap();
        let answer = body.answer(&body.names(&known).unwrap()).unwrap();
        serde_json::to_value(SignalAnswer::of(&book.classify(&answer, NOON.parse().unwrap())).limits).unwrap()
    };
    let anthropic = json!({
        "anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-remaining": "49", "anthropic-ratelimit-requests-reset": "2026-06-10T12:00:01Z",
        "anthropic-ratelimit-tokens-limit": "90000", "anthropic-ratelimit-tokens-remaining": "80000", "anthropic-ratelimit-tokens-reset": "2026-06-10T12:00:07Z",
        "anthropic-ratelimit-input-tokens-limit": "50000", "anthropic-ratelimit-output-tokens-remaining": "many", "request-id": "req_1",
    });
    assert_eq!(
        limits("anthropic", &anthropic),
        json!([
            {"counts": "requests", "limit": 50, "remaining": 49, "resets_at": "2026-06-10T12:00:01Z"},
            {"counts": "tokens", "limit": 90000, "remaining": 80000, "resets_at": "2026-06-10T12:00:07Z"},
            {"counts": "input_tokens", "limit": 50000, "remaining": null, "resets_at": null},
        ])
    );
    let openai = json!({
        "x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59", "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "150000", "x-ratelimit-remaining-tokens": "149984", "x-ratelimit-reset-tokens": "6m0s",
    });
    let told = json!([
        {"counts": "requests", "limit": 60, "remaining": 59, "resets_at": "2026-06-10T12:00:01Z"},
        {"counts": "tokens", "limit": 150_000, "remaining": 149_984, "resets_at": "2026-06-10T12:06:00Z"},
    ]);
    assert_eq!(limits("openai", &openai), told);
    assert_eq!(
        limits("azure", &json!({"x-ratelimit-remaining-requests": "3"})),
        json!([{"counts": "requests", "limit": null, "remaining": 3, "resets_at": null}])
    );
    assert_eq!(limits("gemini", &openai), json!([]), "no header of it is known");
    let claude = unified(&[
        ("status", "allowed"),
        ("5h-status", "allowed"),
        ("5h-utilization", "0.42"),
        ("5h-reset", "1781106000"),
        ("7d-utilization", "1.02"),
        ("7d-reset", "1781400000"),
    ]);
    assert_eq!(
        limits("anthropic", &claude),
        json!([
            {"counts": "five_hours", "limit": null, "remaining": null, "used": "0.42", "window_seconds": 18000, "resets_at": "2026-06-10T15:40:00Z"},
            {"counts": "week", "limit": null, "remaining": null, "used": "1.02", "window_seconds": 604_800, "resets_at": "2026-06-14T01:20:00Z"},
        ])
    );
    let codex = json!({
        "x-codex-primary-used-percent": "45.5", "x-codex-primary-window-minutes": "10080", "x-codex-primary-reset-at": "1781400000",
        "x-codex-secondary-used-percent": "0", "x-codex-secondary-window-minutes": "0", "x-codex-secondary-reset-at": "",
    });
    assert_eq!(
        limits("openai", &codex),
        json!([{"counts": "primary_window", "limit": null, "remaining": null, "used": "0.455", "window_seconds": 604_800, "resets_at": "2026-06-14T01:20:00Z"}])
    );
}

#[test]
fn every_rule_is_met_by_an_answer_of_these_tables() {
    let tables = include_str!("signal_tests.rs");
    let book = bundled_rules().unwrap();
    for rule in &book.rules {
        // Anthropic's four minutes are one fact.
        let is_one_of_four = rule.name.ends_with("-used-up");
        assert!(is_one_of_four || tables.contains(&format!(" {}\"", rule.name)), "{} has no row", rule.name);
        assert!(!rule.source.is_empty() && rule.source_date.parse::<chrono::NaiveDate>().is_ok(), "{}", rule.name);
        let same_name = book.rules.iter().filter(|other| other.name == rule.name).count();
        assert_eq!(same_name, 1, "{}", rule.name);
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let known = crate::wire::price::bundled_provider_names().unwrap();
    let refused = |signal: Value| {
        let body: SignalBody = serde_json::from_value(signal).unwrap();
        body.answer(&body.names(&known).unwrap()).unwrap_err().to_string()
    };
    assert_eq!(refused(answered("openai", 42, &json!({}), &json!({}))), "status: 42 is no HTTP status");
    let headers: Value = (0..=SIGNAL_HEADERS_MAX).map(|n| (format!("h{n}"), json!("1"))).collect();
    assert_eq!(refused(answered("openai", 429, &headers, &json!({}))), "headers: holds more than 200 headers");
    let wide = json!(vec![0; SIGNAL_LEAVES_MAX + 1]);
    assert_eq!(refused(answered("openai", 429, &json!({}), &wide)), "body: holds more than 2000 values");
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(refused(answered("openai", 429, &json!({}), &deep)), "body: is nested too deeply");
}

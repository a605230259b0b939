//! The contract: `openapi/counterfoil.json` is what the code says, and no generator of clients stumbles over it.

use counterfoil::domain::calendar::Zone;
use counterfoil::domain::id::{NAME_LENGTH_MAX, NAME_PATTERN, SLUG_LENGTH_MAX, SLUG_PATTERN, TEXT_PATTERN};
use counterfoil::http::openapi::lint;
use counterfoil::http::service::document;
use serde_json::{Value, json};

use crate::pages::check_generated;

#[test]
fn generated_contract_is_what_the_handlers_say() {
    let mut json = serde_json::to_string_pretty(&document()).unwrap();
    json.push('\n');
    check_generated("openapi/counterfoil.json", &json);
}

#[test]
fn the_contract_has_no_fault() {
    assert_eq!(lint(&document()), [""; 0]);
}

fn contract() -> Value {
    serde_json::to_value(document()).unwrap()
}

#[test]
fn the_contract_is_openapi_3_1_and_every_reference_in_it_resolves() {
    fn walk(value: &Value, whole: &Value, dangling: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let there = reference.strip_prefix('#').is_some_and(|pointer| whole.pointer(pointer).is_some());
                    if !there {
                        dangling.push(reference.clone());
                    }
                }
                fields.values().for_each(|inner| walk(inner, whole, dangling));
            }
            Value::Array(items) => items.iter().for_each(|inner| walk(inner, whole, dangling)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let whole = contract();
    assert!(whole["openapi"].as_str().unwrap().starts_with("3.1."), "{}", whole["openapi"]);
    let mut dangling = Vec::new();
    walk(&whole, &whole, &mut dangling);
    assert_eq!(dangling, [""; 0]);
}

/// Every text of a body whose name is that of an id has the rule of its parser.
#[test]
fn ids_of_bodies_have_the_pattern_and_the_length_of_their_parser() {
    let whole = contract();
    for (schema, field, pattern, length_max) in [
        ("PreflightBody", "tenant", SLUG_PATTERN, SLUG_LENGTH_MAX),
        ("PreflightBody", "model", NAME_PATTERN, NAME_LENGTH_MAX),
        ("UsageBody", "run", TEXT_PATTERN, NAME_LENGTH_MAX),
        ("UsageBody", "idempotency_key", NAME_PATTERN, NAME_LENGTH_MAX),
        ("BudgetBody", "id", SLUG_PATTERN, SLUG_LENGTH_MAX),
        ("ScopeBody", "region", SLUG_PATTERN, SLUG_LENGTH_MAX),
        ("SettleBody", "served_model", NAME_PATTERN, NAME_LENGTH_MAX),
        ("WebhookPutBody", "tenant", SLUG_PATTERN, SLUG_LENGTH_MAX),
    ] {
        let of_field = &whole["components"]["schemas"][schema]["properties"][field];
        assert_eq!(
            (&of_field["pattern"], &of_field["maxLength"]),
            (&json!(pattern), &json!(length_max)),
            "{schema}.{field}"
        );
    }
    let tenants = &whole["components"]["schemas"]["ScopeBody"]["properties"]["tenants"]["items"];
    assert_eq!(tenants["pattern"], SLUG_PATTERN);
    let zone = whole["components"]["schemas"]["TenantBody"]["properties"]["timezone"]["pattern"].as_str().unwrap();
    let class = zone.rsplit_once('[').unwrap().1;
    for known in Zone::all() {
        let fits = |c: char| c.is_ascii_alphanumeric() || class.contains(c);
        assert!(
            known.name().starts_with(|c: char| c.is_ascii_alphabetic()) && known.name().chars().all(fits),
            "{}",
            known.name()
        );
    }
}

#[test]
fn every_field_of_the_contract_says_what_it_means() {
    let mut silent = Vec::new();
    let whole = contract();
    for (name, schema) in whole["components"]["schemas"].as_object().unwrap() {
        for (field, of_field) in schema["properties"].as_object().into_iter().flatten() {
            // A reference without a word of its own, also one that may be null, is explained where it leads.
            let leads_on = ["$ref", "oneOf", "allOf"].iter().any(|key| of_field.get(key).is_some());
            if of_field.get("description").is_none() && !leads_on {
                silent.push(format!("{name}.{field}"));
            }
        }
    }
    assert_eq!(silent, [""; 0], "give the field a docstring");
}

#[test]
fn every_default_and_example_is_of_the_type_it_stands_for() {
    fn is_of(kind: &str, value: &Value) -> bool {
        match kind {
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "null" => value.is_null(),
            other => panic!("no such type: {other}"),
        }
    }
    fn walk(path: &str, value: &Value, wrong: &mut Vec<String>) {
        let kinds: Vec<&str> = match &value["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => vec![],
        };
        for key in ["default", "example"] {
            if let Some(given) = value.get(key)
                && !kinds.is_empty()
                && !kinds.iter().any(|kind| is_of(kind, given))
            {
                wrong.push(format!("{path}: {key} {given} is no {kinds:?}"));
            }
        }
        match value {
            // What stands in an example is no schema.
            Value::Object(fields) => fields
                .iter()
                .filter(|(key, _)| !["example", "default", "enum"].contains(&key.as_str()))
                .for_each(|(key, inner)| walk(&format!("{path}/{key}"), inner, wrong)),
            Value::Array(items) => items.iter().for_each(|inner| walk(path, inner, wrong)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut wrong = Vec::new();
    walk("", &contract(), &mut wrong);
    assert_eq!(wrong, [""; 0]);
}

/// The name of every type with a schema, in the sources: where a name says two things, one of them is lost without a word.
#[test]
fn no_two_types_of_the_contract_have_one_name() {
    let mut seen = std::collections::BTreeMap::<String, String>::new();
    let mut twice = Vec::new();
    for source in crate::tidy::sources().iter().filter(|source| source.path.starts_with("src/")) {
        let (mut derived, mut named) = (false, None);
        for line in source.text.lines().map(str::trim) {
            derived |= line.starts_with("#[derive(") && line.contains("ToSchema");
            if let Some(name) = line.strip_prefix("#[schema(as = ") {
                named = name.split([',', ')']).next().map(str::to_owned);
            }
            let declared = ["struct ", "enum "].iter().find_map(|kind| {
                let visible = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(super) ")).unwrap_or(line);
                visible.strip_prefix(kind)
            });
            let Some(declared) = declared else { continue };
            let own = declared.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
            let name = named.take().unwrap_or(own);
            if std::mem::take(&mut derived)
                && let Some(other) = seen.insert(name.clone(), source.path.clone())
            {
                twice.push(format!("{name}: {other} and {}", source.path));
            }
        }
    }
    assert!(seen.len() > 100, "{}", seen.len());
    assert_eq!(twice, [""; 0], "give one of them another name: #[schema(as = ...)]");
}

#[test]
fn no_document_has_to_fit_two_closed_objects_at_once() {
    fn closed(schema: &Value, whole: &Value) -> bool {
        let schema = schema["$ref"].as_str().and_then(|pointer| whole.pointer(&pointer[1..])).unwrap_or(schema);
        schema["additionalProperties"] == false
    }
    fn walk(path: &str, value: &Value, whole: &Value, wrong: &mut Vec<String>) {
        if let Some(parts) = value["allOf"].as_array()
            && parts.len() > 1
            && parts.iter().any(|part| closed(part, whole))
        {
            wrong.push(path.to_owned());
        }
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(key, inner)| walk(&format!("{path}/{key}"), inner, whole, wrong));
            }
            Value::Array(items) => items.iter().for_each(|inner| walk(path, inner, whole, wrong)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let whole = contract();
    let mut wrong = Vec::new();
    walk("", &whole, &whole, &mut wrong);
    assert_eq!(wrong, [""; 0]);
}

//! Schemas as they must be for a document to fit them: passes of [`super::openapi`] over what the types say of themselves.
//!
//! Deliberately absent: anything about one type. What only one field needs stands at the field.

use std::collections::{BTreeMap, BTreeSet};

use utoipa::Number;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::{AdditionalProperties, AllOf, ArrayItems, KnownFormat, Object, SchemaFormat, SchemaType};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};

use crate::domain::id::{NAME_LENGTH_MAX, NAME_PATTERN, SLUG_LENGTH_MAX, SLUG_PATTERN, TEXT_PATTERN};
use crate::wire::page::PAGE_ITEMS_MAX;

/// How many references are followed: no type is made of more parts inside each other.
const DEPTH_MAX: usize = 8;

/// Writes an object that is made of others (`flatten`) as one object. As `allOf` of parts of which one admits no further
/// property, it would fit no document at all, and generated clients would refuse every answer.
pub(super) fn join_parts(schemas: &mut BTreeMap<String, RefOr<Schema>>) {
    let whole: Vec<(String, Object)> = schemas
        .iter()
        .filter(|(_, schema)| matches!(schema, RefOr::T(Schema::AllOf(_))))
        .filter_map(|(name, schema)| Some((name.clone(), as_object(schema, schemas, DEPTH_MAX)?)))
        .collect();
    for (name, object) in whole {
        schemas.insert(name, RefOr::T(Schema::Object(object)));
    }
}

/// The one object that a schema describes, if it does: not a choice, not an array.
fn as_object(schema: &RefOr<Schema>, all: &BTreeMap<String, RefOr<Schema>>, depth: usize) -> Option<Object> {
    let deeper = depth.checked_sub(1)?;
    match schema {
        RefOr::Ref(part) => as_object(all.get(part.ref_location.rsplit('/').next()?)?, all, deeper),
        RefOr::T(Schema::Object(object)) => Some(object.clone()),
        RefOr::T(Schema::AllOf(parts)) => joined(parts, all, deeper),
        RefOr::T(_) => None,
    }
}

fn joined(parts: &AllOf, all: &BTreeMap<String, RefOr<Schema>>, depth: usize) -> Option<Object> {
    let mut whole: Option<Object> = None;
    for part in &parts.items {
        let part = as_object(part, all, depth)?;
        let whole = whole.get_or_insert_with(|| ObjectBuilder::new().schema_type(part.schema_type.clone()).build());
        whole.properties.extend(part.properties);
        whole.required.extend(part.required);
    }
    let mut whole = whole?;
    whole.description.clone_from(&parts.description);
    whole.example.clone_from(&parts.example);
    whole.examples.clone_from(&parts.examples);
    whole.additional_properties = None;
    Some(whole)
}

/// What every parameter of that name must be, wherever it is taken.
pub(super) fn bound_parameter(parameter: &mut Parameter) {
    let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema else { return };
    match (&parameter.parameter_in, parameter.name.as_str()) {
        (ParameterIn::Query, "limit") => {
            schema.minimum = Some(Number::UInt(1));
            schema.maximum = usize::try_from(PAGE_ITEMS_MAX).ok().map(Number::UInt);
        }
        (ParameterIn::Query, "tenant") => {
            schema.pattern = Some(SLUG_PATTERN.to_owned());
            schema.max_length = Some(SLUG_LENGTH_MAX);
        }
        _ => {}
    }
}

/// What a zone is, as far as a pattern can say it: which there are the database of zones says.
const ZONE_PATTERN: &str = "^[A-Za-z][A-Za-z0-9_+/-]*$";

/// The rule of a field's parser in `domain/id.rs`, which is the same wherever a body has a field of that name: a pattern, and the
/// most characters.
fn rule_of(schema: &str, field: &str) -> Option<(&'static str, usize)> {
    match (schema, field) {
        ("BudgetBody" | "TenantBody", "id")
        | (_, "tenant" | "tenants" | "feature" | "provider" | "region" | "served_region" | "budget" | "like") => {
            Some((SLUG_PATTERN, SLUG_LENGTH_MAX))
        }
        (_, "model" | "requested_model" | "served_model" | "idempotency_key") => Some((NAME_PATTERN, NAME_LENGTH_MAX)),
        (_, "run" | "agent") => Some((TEXT_PATTERN, NAME_LENGTH_MAX)),
        // Zones of electricity have names of their own.
        (_, "zone" | "timezone") if !schema.ends_with("FactorDoc") => Some((ZONE_PATTERN, SLUG_LENGTH_MAX)),
        _ => None,
    }
}

/// Says in the schemas of bodies what the parsers of names ask for. What is answered is not bounded: it was parsed, or it is older
/// than the rule.
pub(super) fn bound_bodies(schemas: &mut BTreeMap<String, RefOr<Schema>>, bodies: &BTreeSet<String>) {
    for name in bodies {
        if let Some(RefOr::T(Schema::Object(object))) = schemas.get_mut(name) {
            for (field, of_field) in &mut object.properties {
                if let (Some(rule), RefOr::T(of_field)) = (rule_of(name, field), of_field) {
                    bound_text(of_field, rule);
                }
            }
        }
    }
}

/// Decimals in lists and maps, which no attribute of a field can call so.
pub(super) fn name_decimals(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::Object(object)) = schema else { return };
    for field in ["thresholds", "floors", "ceilings", "weights"] {
        let inner = match object.properties.get_mut(field) {
            Some(RefOr::T(Schema::Array(array))) => match &mut array.items {
                ArrayItems::RefOrSchema(items) => Some(items.as_mut()),
                ArrayItems::False => None,
            },
            Some(RefOr::T(Schema::Object(map))) => match map.additional_properties.as_deref_mut() {
                Some(AdditionalProperties::RefOr(values)) => Some(values),
                Some(AdditionalProperties::FreeForm(_)) | None => None,
            },
            _ => None,
        };
        if let Some(RefOr::T(Schema::Object(text))) = inner
            && matches!(text.schema_type, SchemaType::Type(Type::String))
        {
            text.format = Some(SchemaFormat::Custom("decimal".to_owned()));
        }
    }
}

/// Bounds a text, or the texts of a list.
fn bound_text(schema: &mut Schema, (pattern, length_max): (&'static str, usize)) {
    let is_text = |kind: &SchemaType| match kind {
        SchemaType::Type(kind) => *kind == Type::String,
        SchemaType::Array(kinds) => kinds.contains(&Type::String),
        SchemaType::AnyValue => false,
    };
    match schema {
        Schema::Object(text) if is_text(&text.schema_type) => {
            text.pattern = Some(pattern.to_owned());
            text.max_length = Some(length_max);
        }
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items
                && let RefOr::T(item) = items.as_mut()
            {
                bound_text(item, (pattern, length_max));
            }
        }
        // A list of schemas is bounded where each stands; the type may gain kinds, which are none of a text.
        Schema::Object(_) | Schema::OneOf(_) | Schema::AllOf(_) | Schema::AnyOf(_) | _ => {}
    }
}

/// The names of all schemas that a schema is made of.
pub(super) fn parts_of(schema: &RefOr<Schema>, all: &BTreeMap<String, RefOr<Schema>>, found: &mut BTreeSet<String>) {
    let schema = match schema {
        RefOr::Ref(part) => {
            let name = part.ref_location.rsplit('/').next().unwrap_or_default();
            if found.insert(name.to_owned())
                && let Some(part) = all.get(name)
            {
                parts_of(part, all, found);
            }
            return;
        }
        RefOr::T(schema) => schema,
    };
    match schema {
        Schema::Object(object) => {
            object.properties.values().for_each(|part| parts_of(part, all, found));
            if let Some(AdditionalProperties::RefOr(values)) = object.additional_properties.as_deref() {
                parts_of(values, all, found);
            }
        }
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &array.items {
                parts_of(items, all, found);
            }
        }
        Schema::OneOf(choice) => choice.items.iter().for_each(|part| parts_of(part, all, found)),
        Schema::AnyOf(choice) => choice.items.iter().for_each(|part| parts_of(part, all, found)),
        Schema::AllOf(parts) => parts.items.iter().for_each(|part| parts_of(part, all, found)),
        _ => {}
    }
}

/// A count of 32 bits without a sign is no `int32`, which ends at half of it.
pub(super) fn widen_counts(schema: &mut RefOr<Schema>) {
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::Object(object) => {
            let is_int32 = matches!(object.format, Some(SchemaFormat::KnownFormat(KnownFormat::Int32)));
            let is_count = matches!(object.minimum, Some(Number::UInt(_) | Number::Int(0)))
                || matches!(object.minimum, Some(Number::Float(least)) if least >= 0.0);
            if is_int32 && is_count && object.maximum.is_none() {
                object.format = Some(SchemaFormat::KnownFormat(KnownFormat::Int64));
                object.maximum = usize::try_from(u32::MAX).ok().map(Number::UInt);
            }
            object.properties.values_mut().for_each(widen_counts);
        }
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                widen_counts(items);
            }
        }
        Schema::OneOf(choice) => choice.items.iter_mut().for_each(widen_counts),
        Schema::AnyOf(choice) => choice.items.iter_mut().for_each(widen_counts),
        Schema::AllOf(parts) => parts.items.iter_mut().for_each(widen_counts),
        _ => {}
    }
}

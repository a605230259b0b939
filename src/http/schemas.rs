//! Schemas as they must be for a document to fit them: passes of [`super::openapi`] over what the types say of themselves.
//!
//! Deliberately absent: anything about one type. What only one field needs stands at the field.

use std::collections::BTreeMap;

use utoipa::Number;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::{AllOf, ArrayItems, KnownFormat, Object, SchemaFormat};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};

use crate::domain::id::SLUG_LENGTH_MAX;
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
            schema.pattern = Some(format!("^[A-Za-z0-9][A-Za-z0-9._-]{{0,{}}}$", SLUG_LENGTH_MAX.saturating_sub(1)));
        }
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

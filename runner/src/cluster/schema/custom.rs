//! The APIs that a CRD defines, and the check of an object against the CRD's `openAPIV3Schema`.
//!
//! Types, enums, patterns and bounds are checked by a JSON Schema validator; unknown fields by a walk of our own,
//! since structural schemas mean by silence what JSON Schema says with `additionalProperties: false`.

use std::sync::{Arc, OnceLock};

use jsonschema::{
    Draft, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
    paths::LocationSegment,
};
use serde_json::{Map, Value, json};

use super::{Api, SchemaError, builtin, expected, nearest, path::Path, shortened, unknown_field};
use crate::cluster::{Object, Scope};

/// One served version of a custom kind.
#[derive(Debug)]
pub(super) struct CustomApi {
    api_version: String,
    kind: String,
    plural: String,
    scope: Scope,
    crd: Arc<Object>,
    schema: String,
    validator: OnceLock<Option<Validator>>,
}

/// Returns an API for each version that a CRD serves.
pub(super) fn apis(crd: &Object) -> Vec<CustomApi> {
    let crd = Arc::new(crd.clone());
    let scope = match crd.text("/spec/scope") {
        "Cluster" => Scope::Cluster,
        _ => Scope::Namespaced,
    };
    crd.items("/spec/versions")
        .iter()
        .enumerate()
        .filter(|(_, version)| version["served"] == true)
        .map(|(index, version)| CustomApi {
            api_version: format!(
                "{}/{}",
                crd.text("/spec/group"),
                version["name"].as_str().unwrap_or_default()
            ),
            kind: crd.text("/spec/names/kind").into(),
            plural: crd.text("/spec/names/plural").into(),
            scope,
            crd: Arc::clone(&crd),
            schema: format!("/spec/versions/{index}/schema/openAPIV3Schema"),
            validator: OnceLock::new(),
        })
        .collect()
}

impl CustomApi {
    pub(super) fn is(&self, api_version: &str, kind: &str) -> bool {
        self.kind == kind && self.api_version == api_version
    }

    pub(super) fn api(&self) -> Api<'_> {
        Api {
            api_version: &self.api_version,
            kind: &self.kind,
            plural: &self.plural,
            scope: self.scope,
            custom: true,
        }
    }

    pub(super) fn check(&self, object: &Value) -> Vec<SchemaError> {
        let Some(schema) = self.crd.at(&self.schema) else { return Vec::new() };
        let mut errors = builtin::check_metadata(&object["metadata"]);
        unknown_fields(schema, object, &Path::default(), &mut errors);
        // A pattern that only Go's regular expressions know spoils the schema; a server still accepts it.
        if let Some(validator) = self.validator(schema) {
            errors.extend(validator.iter_errors(object).map(|error| in_our_words(&error)));
        }
        errors
    }

    fn validator(&self, schema: &Value) -> Option<&Validator> {
        self.validator.get_or_init(|| compile(schema)).as_ref()
    }

    #[cfg(test)]
    pub(super) fn compiles(&self) -> bool {
        self.crd.at(&self.schema).is_some_and(|schema| self.validator(schema).is_some())
    }
}

fn compile(schema: &Value) -> Option<Validator> {
    // OpenAPI 3.0 schemas follow JSON Schema's draft 4 where drafts differ (boolean `exclusiveMinimum`).
    jsonschema::options()
        .with_draft(Draft::Draft4)
        .should_validate_formats(false)
        .build(&json_schema(schema))
        .ok()
}

/// Rewrites an `openAPIV3Schema` as JSON Schema: without prose, with Kubernetes' extensions spelled out.
fn json_schema(schema: &Value) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    let mut out = Map::new();
    for (keyword, value) in fields {
        let value = match (keyword.as_str(), value) {
            ("description" | "default" | "example" | "format" | "nullable", _) => continue,
            (extension, _) if extension.starts_with("x-") => continue,
            ("properties", Value::Object(properties)) => {
                properties.iter().map(|(name, schema)| (name.clone(), json_schema(schema))).collect()
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => schemas.iter().map(json_schema).collect(),
            ("items" | "additionalProperties" | "not", schema) => json_schema(schema),
            (_, value) => value.clone(),
        };
        out.insert(keyword.clone(), value);
    }
    if fields.get("x-kubernetes-int-or-string") == Some(&json!(true)) {
        out.remove("anyOf");
        out.insert("type".into(), json!(["integer", "string"]));
    }
    if fields.get("nullable") == Some(&json!(true)) {
        if let Some(Value::String(kind)) = out.get("type") {
            out.insert("type".into(), json!([kind, "null"]));
        }
        if let Some(Value::Array(options)) = out.get_mut("enum") {
            options.push(Value::Null);
        }
    }
    Value::Object(out)
}

/// Finds fields that a server would prune, and that strict field validation refuses.
fn unknown_fields(schema: &Value, value: &Value, path: &Path, errors: &mut Vec<SchemaError>) {
    match value {
        Value::Object(fields) => {
            let says = |keyword: &str| schema[keyword] == true;
            let root = *path == Path::default();
            let properties = schema["properties"].as_object();
            for (name, value) in fields {
                let path = path.field(name);
                if (root || says("x-kubernetes-embedded-resource"))
                    && matches!(name.as_str(), "apiVersion" | "kind" | "metadata")
                {
                    continue;
                }
                match (properties.and_then(|known| known.get(name)), &schema["additionalProperties"]) {
                    (Some(schema), _) | (None, schema @ Value::Object(_)) => {
                        unknown_fields(schema, value, &path, errors);
                    }
                    (None, Value::Bool(true)) => {}
                    (None, _) if says("x-kubernetes-preserve-unknown-fields") => {}
                    (None, _) => {
                        let known = properties.into_iter().flat_map(|known| known.keys().map(String::as_str));
                        errors.push(SchemaError::new(&path, unknown_field(nearest(name, known))));
                    }
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                unknown_fields(&schema["items"], item, &path.index(index), errors);
            }
        }
        _ => {}
    }
}

fn in_our_words(error: &ValidationError<'_>) -> SchemaError {
    let mut path = Path::default();
    for segment in error.instance_path() {
        path = match segment {
            LocationSegment::Property(name) => path.field(&name),
            LocationSegment::Index(index) => path.index(index),
        };
    }
    let value = error.instance();
    let message = match error.kind() {
        ValidationErrorKind::Required { property } => {
            path = path.field(property.as_str().unwrap_or_default());
            "required field is missing".into()
        }
        ValidationErrorKind::Type { kind } => expected(&type_names(kind), value),
        ValidationErrorKind::Enum { options } => {
            let options = options.as_array().into_iter().flatten().filter(|option| !option.is_null());
            let options: Vec<_> = options.map(plain).collect();
            expected(&format!("one of {}", options.join(", ")), value)
        }
        ValidationErrorKind::Pattern { pattern } => {
            format!("{} does not match {pattern}", shortened(&value.to_string()))
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            match required_by_any(context) {
                Some(names) => format!("needs one of {}", names.join(", ")),
                None => "fits none of the alternatives in its schema".into(),
            }
        }
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            "fits more than one of the alternatives in its schema".into()
        }
        ValidationErrorKind::Not { .. } => "is what its schema excludes".into(),
        _ => error.to_string(),
    };
    SchemaError::new(&path, message)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

fn type_names(kind: &TypeKind) -> String {
    let one = |name: &str| if name == "array" { "list".into() } else { name.to_owned() };
    match kind {
        TypeKind::Single(kind) => one(&kind.to_string()),
        TypeKind::Multiple(kinds) => {
            kinds.iter().map(|kind| one(&kind.to_string())).collect::<Vec<_>>().join(" or ")
        }
    }
}

/// The fields of which one must be there, where that is all that the alternatives ask for.
fn required_by_any(context: &[Vec<ValidationError<'static>>]) -> Option<Vec<String>> {
    context
        .iter()
        .map(|errors| match errors.as_slice() {
            [error] => match error.kind() {
                ValidationErrorKind::Required { property } => Some(plain(property)),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

//! Kubernetes objects as values.

use meshrun_sdk::prelude::{Diagnostic, ObjectRef, Value, json};

use crate::{StringMap, values};

/// Builds an object.
///
/// ```
/// use meshrun_plugin_common::{object, string_map};
/// use meshrun_sdk::prelude::json;
/// let namespace = object("v1", "Namespace", "shop").labels(&string_map([("istio-injection", "enabled")])).build();
/// assert_eq!(namespace["metadata"]["labels"], json!({ "istio-injection": "enabled" }));
/// ```
pub fn object(api_version: &str, kind: &str, name: &str) -> Object {
    Object(json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } }))
}

/// An object in the making.
#[derive(Debug, Clone, PartialEq)]
pub struct Object(Value);

impl Object {
    /// Puts it into a namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        values::set(&mut self.0, &["metadata", "namespace"], namespace);
        self
    }

    /// Adds labels.
    #[must_use]
    pub fn labels(mut self, labels: &StringMap) -> Self {
        for (key, value) in labels {
            values::set(&mut self.0, &["metadata", "labels", key], value.as_str());
        }
        self
    }

    /// Adds annotations.
    #[must_use]
    pub fn annotations(mut self, annotations: &StringMap) -> Self {
        for (key, value) in annotations {
            values::set(&mut self.0, &["metadata", "annotations", key], value.as_str());
        }
        self
    }

    /// Sets the spec.
    #[must_use]
    pub fn spec(self, spec: Value) -> Self {
        self.field("spec", spec)
    }

    /// Sets another top-level field: `data`, `type`, `stringData`.
    #[must_use]
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.0[name] = value;
        self
    }

    /// The object.
    pub fn build(self) -> Value {
        self.0
    }
}

/// Says which raw objects of a configuration lack what every object needs. `path` points at the list.
pub fn lint_objects(path: &str, objects: &[Value]) -> Vec<Diagnostic> {
    let missing = |object: &Value| {
        ["/apiVersion", "/kind", "/metadata/name"]
            .into_iter()
            .find(|pointer| object.pointer(pointer).and_then(Value::as_str).is_none_or(str::is_empty))
    };
    objects
        .iter()
        .enumerate()
        .filter_map(|(index, object)| missing(object).map(|pointer| (index, pointer)))
        .map(|(index, pointer)| {
            let field = pointer.trim_start_matches('/').replace('/', ".");
            Diagnostic::error(format!("{path}/{index}"), format!("the object has no {field}"))
                .with_code("object/incomplete")
                .with_hint("a Kubernetes object needs apiVersion, kind and metadata.name, all of them text")
        })
        .collect()
}

/// Names the object that a value holds; empty parts where it lacks them.
pub(crate) fn reference_to(object: &Value) -> ObjectRef {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    ObjectRef {
        api_version: text("/apiVersion"),
        kind: text("/kind"),
        namespace: object.pointer("/metadata/namespace").and_then(Value::as_str).map(str::to_owned),
        name: text("/metadata/name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::string_map;

    #[test]
    fn builds_an_object() {
        let built = object("v1", "Secret", "certs")
            .namespace("istio-system")
            .labels(&string_map([("a", "b")]))
            .field("type", json!("Opaque"))
            .build();
        assert_eq!(
            built,
            json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": { "name": "certs", "namespace": "istio-system", "labels": { "a": "b" } },
                "type": "Opaque",
            })
        );
        assert_eq!(reference_to(&built).to_string(), "Secret istio-system/certs");
    }

    #[test]
    fn incomplete_raw_object_is_an_error_with_its_place() {
        let findings =
            lint_objects("/objects", &[json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {} })]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path, "/objects/0");
        assert_eq!(findings[0].message, "the object has no metadata.name");
    }
}

//! A Kubernetes object as JSON, with the accessors that the engine needs.

use std::{fmt, sync::Arc};

use meshrun_protocol::ObjectRef;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

/// A whole Kubernetes object: a JSON object with `apiVersion`, `kind` and `metadata.name`.
///
/// A clone shares the JSON until one of the two is changed: a chart's CRDs are megabytes that a plan holds many times.
#[derive(Debug, Clone, PartialEq)]
pub struct Object(Arc<Value>);

impl Object {
    /// Takes JSON that has what every object must have.
    ///
    /// # Errors
    /// A fragment that names what is missing: `has no kind`.
    pub fn new(value: Value) -> Result<Self, String> {
        for (pointer, name) in
            [("/apiVersion", "apiVersion"), ("/kind", "kind"), ("/metadata/name", "metadata.name")]
        {
            match value.pointer(pointer) {
                Some(Value::String(text)) if !text.is_empty() => {}
                Some(Value::Null) | None => return Err(format!("has no {name}")),
                Some(_) => return Err(format!("has a {name} that is no text")),
            }
        }
        Ok(Self(Arc::new(value)))
    }

    /// `apps/v1`.
    pub fn api_version(&self) -> &str {
        self.text("/apiVersion")
    }

    /// `Deployment`.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// `metadata.namespace`.
    pub fn namespace(&self) -> Option<&str> {
        self.at("/metadata/namespace").and_then(Value::as_str).filter(|namespace| !namespace.is_empty())
    }

    /// `metadata.uid`; empty for an object that was not read from a server.
    pub fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    /// `metadata.resourceVersion`; empty for an object that was not read from a server.
    pub fn resource_version(&self) -> &str {
        self.text("/metadata/resourceVersion")
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.0["metadata"]["labels"][key].as_str()
    }

    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.0["metadata"]["annotations"][key].as_str()
    }

    /// Names the object.
    pub fn reference(&self) -> ObjectRef {
        ObjectRef {
            api_version: self.api_version().into(),
            kind: self.kind().into(),
            namespace: self.namespace().map(Into::into),
            name: self.name().into(),
        }
    }

    /// Puts the object into a namespace.
    pub fn set_namespace(&mut self, namespace: Option<&str>) {
        if self.at("/metadata/namespace").and_then(Value::as_str) == namespace {
            return;
        }
        if let Some(metadata) = self.json_mut()["metadata"].as_object_mut() {
            match namespace {
                Some(namespace) => metadata.insert("namespace".into(), json!(namespace)),
                None => metadata.remove("namespace"),
            };
        }
    }

    /// The value at a JSON pointer.
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer)
    }

    /// The text at a JSON pointer; empty where there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The array at a JSON pointer; empty where there is none.
    pub fn items(&self, pointer: &str) -> &[Value] {
        self.at(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The `status.conditions` entry of a type.
    pub fn condition(&self, name: &str) -> Option<&Value> {
        self.items("/status/conditions").iter().find(|condition| condition["type"] == name)
    }

    /// The JSON.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// The JSON, to change it.
    pub fn json_mut(&mut self) -> &mut Value {
        Arc::make_mut(&mut self.0)
    }

    /// The JSON itself.
    pub fn into_json(self) -> Value {
        Arc::unwrap_or_clone(self.0)
    }
}

// By hand: the derive would need serde's feature `rc`.
impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Self(Arc::new(value)))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reference().fmt(f)
    }
}

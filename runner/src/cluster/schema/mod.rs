//! Whether an object fits its API: built-in kinds by the Kubernetes types, custom kinds by the schemas in their CRDs.
//!
//! Finds before anything is sent what a server would refuse: a field of the wrong type, a field that does not
//! exist, a required field that is missing, a value outside an enum, two list entries with one key. What admission
//! plugins, webhooks and CEL rules of CRDs would say is not known here.

mod builtin;
mod custom;
mod lists;
mod path;
mod quantity;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use super::{Object, Scope};
use custom::CustomApi;
use path::Path;

pub(super) use lists::{ItemKey, duplicates, item_key};

/// What is wrong at one place of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// Where: `spec.template.spec.containers[0].image`; empty for the object as a whole.
    pub path: String,
    /// What: `expected integer, got "two"`.
    pub message: String,
}

impl SchemaError {
    fn new(path: &Path, message: impl Into<String>) -> Self {
        Self { path: path.to_string(), message: message.into() }
    }
}

/// Reads as a server says it: `spec.replicas: expected integer, got "two"`.
impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// An API as discovery would show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api<'a> {
    /// `apps/v1`.
    pub api_version: &'a str,
    /// `Deployment`.
    pub kind: &'a str,
    /// `deployments`.
    pub plural: &'a str,
    /// Where its objects live.
    pub scope: Scope,
    /// Whether it is defined by a CRD.
    pub custom: bool,
}

/// The known APIs: every built-in one, and those of the CRDs that were handed in.
#[derive(Debug, Default)]
pub struct Schemas {
    custom: BTreeMap<String, Vec<CustomApi>>,
}

impl Schemas {
    /// Knows the built-in kinds and the kinds that CRDs define.
    ///
    /// ```
    /// use meshrun::cluster::{Object, schema::Schemas};
    /// use serde_json::json;
    ///
    /// let schemas = Schemas::with_crds([].into_iter());
    /// let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "nam": "istiod", "name": "x" } });
    /// let errors = schemas.validate(&Object::new(account)?);
    /// assert_eq!(errors[0].to_string(), "metadata.nam: unknown field");
    /// # Ok::<(), String>(())
    /// ```
    pub fn with_crds<'a>(crds: impl Iterator<Item = &'a Object>) -> Self {
        let mut schemas = Self::default();
        crds.for_each(|crd| schemas.add_crd(crd));
        schemas
    }

    /// Takes in what a CRD defines, in place of what a CRD of this name defined before.
    pub fn add_crd(&mut self, crd: &Object) {
        self.custom.insert(crd.name().into(), custom::apis(crd));
    }

    /// Forgets what the CRD of this name defined.
    pub fn remove_crd(&mut self, name: &str) {
        self.custom.remove(name);
    }

    /// Returns an API, or `None` where it is neither built in nor defined by a known CRD.
    pub fn api(&self, api_version: &str, kind: &str) -> Option<Api<'_>> {
        self.custom_api(api_version, kind)
            .map(CustomApi::api)
            .or_else(|| builtin::find(api_version, kind).map(builtin::BuiltIn::api))
    }

    /// Returns every API: the built-in ones, then those of CRDs.
    pub fn apis(&self) -> impl Iterator<Item = Api<'_>> {
        let custom = self.custom.values().flatten().map(CustomApi::api);
        builtin::APIS.iter().map(|api| api.api()).chain(custom)
    }

    /// Says where objects of a kind live; `None` where the kind is not known.
    pub fn scope(&self, api_version: &str, kind: &str) -> Option<Scope> {
        self.api(api_version, kind).map(|api| api.scope)
    }

    /// Returns everything that is wrong with an object; nothing where it is right.
    ///
    /// An object of an unknown kind is wrong as a whole; ask [`Schemas::scope`] first where that may be.
    /// Fields that are `null` count as absent, as they do for a server.
    pub fn validate(&self, object: &Object) -> Vec<SchemaError> {
        let value = without_nulls(object.json());
        if let Some(api) = self.custom_api(object.api_version(), object.kind()) {
            return api.check(&value);
        }
        match builtin::find(object.api_version(), object.kind()) {
            Some(api) => {
                let mut errors = (api.check)(&value);
                errors.extend(duplicates(&value));
                errors
            }
            None => vec![SchemaError::new(&Path::default(), no_match(object.api_version(), object.kind()))],
        }
    }

    fn custom_api(&self, api_version: &str, kind: &str) -> Option<&CustomApi> {
        self.custom.values().flatten().find(|api| api.is(api_version, kind))
    }
}

/// What a server's discovery says about an API that it does not serve.
pub(super) fn no_match(api_version: &str, kind: &str) -> String {
    format!("no matches for kind \"{kind}\" in version \"{api_version}\"")
}

/// The value without fields that are `null`, which a server takes for absent.
pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        scalar => scalar.clone(),
    }
}

/// `expected integer, got "two"`.
fn expected(what: &str, got: &Value) -> String {
    let got = match got {
        Value::Object(_) => "an object".into(),
        Value::Array(_) => "a list".into(),
        scalar => shortened(&scalar.to_string()),
    };
    format!("expected {what}, got {got}")
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into(),
    }
}

/// The known name that may have been meant by an unknown one.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= 2 && *distance < known.len())
        .min()
        .map(|(_, known)| known)
}

fn unknown_field(meant: Option<&str>) -> String {
    match meant {
        Some(meant) => format!("unknown field, did you mean \"{meant}\"?"),
        None => "unknown field".into(),
    }
}

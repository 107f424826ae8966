//! Lists of built-in kinds whose items are told apart by keys (`x-kubernetes-list-map-keys` in the Kubernetes API).

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

use super::{SchemaError, path::Path};

/// What tells an item of a list from its siblings: `name="PILOT_TRACE_SAMPLING"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cluster) struct ItemKey(Vec<(&'static str, String)>);

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        f.write_str(&parts.join(","))
    }
}

/// Returns the key of an item in the list `field`; `None` where the list is a value as a whole.
pub(in crate::cluster) fn item_key(field: &str, item: &Value) -> Option<ItemKey> {
    let keys: &[&'static str] = match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "webhooks"
        | "matchConditions"
        | "secrets" => &["name"],
        "volumeMounts" => &["mountPath"],
        "ports" if item.get("containerPort").is_some() => &["containerPort", "protocol"],
        "ports" => &["port", "protocol"],
        "conditions" => &["type"],
        "ownerReferences" => &["uid"],
        "hostAliases" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        _ => return None,
    };
    keys.iter()
        .map(|&key| match (item.get(key), key) {
            (Some(value), _) => Some((key, value.to_string())),
            (None, "protocol") => Some((key, "\"TCP\"".into())),
            (None, _) => None,
        })
        .collect::<Option<Vec<_>>>()
        .map(ItemKey)
}

/// Finds items that share a key: a server accepts them in an update, and refuses them in a server-side apply.
pub(in crate::cluster) fn duplicates(value: &Value) -> Vec<SchemaError> {
    let mut errors = Vec::new();
    walk(value, "", &Path::default(), &mut errors);
    errors
}

fn walk(value: &Value, field: &str, path: &Path, errors: &mut Vec<SchemaError>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                walk(value, name, &path.field(name), errors);
            }
        }
        Value::Array(items) => {
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                if let Some(key) = item_key(field, item)
                    && let text = key.to_string()
                    && !seen.insert(key)
                {
                    errors.push(SchemaError::new(path, format!("duplicate entries for key [{text}]")));
                }
                walk(item, "", &path.index(index), errors);
            }
        }
        _ => {}
    }
}

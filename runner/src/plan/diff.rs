//! Differences between what is there and what a server says would be there, field by field.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::model::FieldChange;
use crate::cluster::Object;

/// Metadata that the server writes: never a difference that anybody asked for.
const SERVER_METADATA: [&str; 7] = [
    "managedFields",
    "resourceVersion",
    "generation",
    "uid",
    "creationTimestamp",
    "selfLink",
    "deletionTimestamp",
];
/// Keys by which Kubernetes tells the items of a list apart, the most telling first.
const LIST_KEYS: [&str; 8] = ["name", "containerPort", "port", "mountPath", "type", "ip", "key", "number"];
/// What stands for a secret value.
const MASK: &str = "(secret)";

/// Returns the fields that differ, sorted by path; values of Secrets are masked.
pub(super) fn fields(before: &Object, after: &Object) -> Vec<FieldChange> {
    let mut changes = differences(before, after);
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    shown(after, changes)
}

/// Masks what must not be shown of an object's fields.
pub(super) fn shown(object: &Object, mut changes: Vec<FieldChange>) -> Vec<FieldChange> {
    let secret = object.kind() == "Secret" && object.api_version() == "v1";
    for change in &mut changes {
        let data = change.path.starts_with("data") || change.path.starts_with("stringData");
        if secret && data {
            change.before = change.before.as_ref().map(|_| json!(MASK));
            change.after = change.after.as_ref().map(|_| json!(MASK));
        }
    }
    changes
}

/// Returns the fields that are asked for and differ, where no server can say what would come out.
pub(super) fn asked(live: &Object, desired: &Object) -> Vec<FieldChange> {
    // What the desired state does not name stays as it is: a removal is nothing that it asks for.
    fields(live, desired).into_iter().filter(|change| change.after.is_some()).collect()
}

/// Whether an object is word for word what is asked for, so that no server has to be asked what would come out. Kinds whose
/// server fills in defaults hardly ever are; CRDs, the largest by far, are but for three of them.
pub(super) fn is_as_asked(live: &Object, desired: &Object) -> bool {
    let defaults: Vec<_> = crd_defaults(desired).into_iter().flatten().collect();
    let is_default = |change: &FieldChange| {
        let mut defaults = defaults.iter();
        defaults.any(|(path, value)| change.path == *path && change.before.as_ref() == Some(value))
    };
    differences(live, desired).iter().all(|change| change.after.is_none() && is_default(change))
}

/// What a server fills in where a CRD does not say it, by path; `None` of another kind.
pub(super) fn crd_defaults(crd: &Object) -> Option<[(&'static str, Value); 3]> {
    let kind = crd.text("/spec/names/kind");
    (crd.kind() == "CustomResourceDefinition").then(|| {
        [
            ("spec.conversion", json!({ "strategy": "None" })),
            ("spec.names.listKind", json!(format!("{kind}List"))),
            ("spec.names.singular", json!(kind.to_lowercase())),
        ]
    })
}

/// Compares everything but the status and what the server writes.
fn differences(before: &Object, after: &Object) -> Vec<FieldChange> {
    let (before, after) = (before.json(), after.json());
    let mut changes = Vec::new();
    for key in keys(before, after).filter(|key| !["status", "metadata"].contains(key)) {
        compare(&member("", key), before.get(key), after.get(key), &mut changes);
    }
    let (before, after) = (&before["metadata"], &after["metadata"]);
    for key in keys(before, after).filter(|key| !SERVER_METADATA.contains(key)) {
        compare(&member("metadata", key), before.get(key), after.get(key), &mut changes);
    }
    changes
}

/// The keys of two mappings, each once.
fn keys<'a>(before: &'a Value, after: &'a Value) -> impl Iterator<Item = &'a str> {
    let maps = [before, after].into_iter().filter_map(Value::as_object);
    maps.flat_map(|map| map.keys().map(String::as_str)).collect::<BTreeSet<_>>().into_iter()
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<FieldChange>) {
    match (present(before), present(after)) {
        (before, after) if before == after => {}
        (Some(before @ Value::Object(_)), Some(after @ Value::Object(_))) => {
            for key in keys(before, after) {
                compare(&member(path, key), before.get(key), after.get(key), changes);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            compare_lists(path, before, after, changes)
        }
        (before, after) => changes.push(FieldChange {
            path: path.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

fn compare_lists(path: &str, before: &[Value], after: &[Value], changes: &mut Vec<FieldChange>) {
    if let Some(key) = list_key(before, after) {
        compare_order(path, key, before, after, changes);
        let (before, after) = (by_key(before, key), by_key(after, key));
        let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let item = format!("{path}[{key}={name}]");
            compare(&item, before.get(name).copied(), after.get(name).copied(), changes);
        }
        return;
    }
    for index in 0..before.len().max(after.len()) {
        compare(&format!("{path}[{index}]"), before.get(index), after.get(index), changes);
    }
}

/// Routes are tried in their order, filters run in theirs.
fn compare_order(path: &str, key: &str, before: &[Value], after: &[Value], changes: &mut Vec<FieldChange>) {
    let order = |list: &[Value], other: &[Value]| -> Vec<String> {
        let names = |list: &[Value]| list.iter().filter_map(|item| key_text(&item[key])).collect::<Vec<_>>();
        let other = names(other);
        names(list).into_iter().filter(|name| other.contains(name)).collect()
    };
    let (was, will) = (order(before, after), order(after, before));
    if was != will {
        let path = format!("{path} (order)");
        changes.push(FieldChange { path, before: Some(json!(was)), after: Some(json!(will)) });
    }
}

/// The key that every item of both lists has, each value of it once.
fn list_key(before: &[Value], after: &[Value]) -> Option<&'static str> {
    LIST_KEYS.into_iter().find(|key| {
        [before, after].iter().all(|list| {
            let mut values: Vec<String> = list.iter().filter_map(|item| key_text(&item[*key])).collect();
            values.sort();
            values.dedup();
            values.len() == list.len()
        })
    })
}

fn by_key<'a>(list: &'a [Value], key: &str) -> BTreeMap<String, &'a Value> {
    list.iter().filter_map(|item| Some((key_text(&item[key])?, item))).collect()
}

fn key_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Null and empty say the same as absent: templates render `annotations: null` and `env: []`.
fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    })
}

fn member(path: &str, key: &str) -> String {
    // Label and annotation keys hold dots and slashes: quoted, so that the path stays readable.
    match (path.is_empty(), key.contains(['.', '/'])) {
        (true, false) => key.to_owned(),
        (_, true) => format!("{path}[\"{key}\"]"),
        (false, false) => format!("{path}.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: Value, after: Value, expected: &str) {
        let whole = |mut value: Value| {
            for (key, default) in [("apiVersion", "v1"), ("kind", "Pod")] {
                if value[key].is_null() {
                    value[key] = json!(default);
                }
            }
            value["metadata"]["name"] = json!("x");
            Object::new(value).unwrap()
        };
        let text: Vec<String> = fields(&whole(before), &whole(after))
            .iter()
            .map(|change| {
                let show = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), Value::to_string);
                format!("{}: {} -> {}", change.path, show(&change.before), show(&change.after))
            })
            .collect();
        assert_eq!(text.join("\n"), expected);
    }

    #[test]
    fn names_list_items_by_their_key() {
        check(
            json!({ "spec": { "containers": [{ "name": "a", "image": "a:1" }, { "name": "b", "image": "b:1" }] } }),
            json!({ "spec": { "containers": [{ "name": "b", "image": "b:2" }, { "name": "a", "image": "a:1" }] } }),
            r#"spec.containers (order): ["a","b"] -> ["b","a"]
spec.containers[name=b].image: "b:1" -> "b:2""#,
        );
    }

    #[test]
    fn crd_with_the_servers_defaults_is_as_asked_and_one_with_another_field_is_not() {
        let crd = |spec: Value| {
            let metadata = json!({ "name": "gateways.example.com", "uid": "1", "managedFields": [1] });
            Object::new(json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                                "metadata": metadata, "spec": spec, "status": { "conditions": [1] } }))
            .unwrap()
        };
        let names = json!({ "kind": "Gateway", "plural": "gateways" });
        let full = json!({ "kind": "Gateway", "plural": "gateways", "singular": "gateway", "listKind": "GatewayList" });
        let asked = crd(json!({ "group": "example.com", "names": names }));
        let served = |strategy: &str| {
            crd(json!({ "group": "example.com", "names": full, "conversion": { "strategy": strategy } }))
        };
        assert!(is_as_asked(&served("None"), &asked));
        assert!(!is_as_asked(&served("Webhook"), &asked));
        assert!(!is_as_asked(&served("None"), &crd(json!({ "group": "example.org", "names": names }))));
    }

    #[test]
    fn says_nothing_of_what_the_server_writes_and_of_empty_values() {
        check(
            json!({ "metadata": { "resourceVersion": "1", "managedFields": [1] }, "status": { "phase": "a" } }),
            json!({ "metadata": { "resourceVersion": "2", "annotations": null }, "spec": {} }),
            "",
        );
    }

    #[test]
    fn masks_the_data_of_secrets() {
        check(
            json!({ "kind": "Secret", "data": { "key": "b25l" }, "type": "Opaque" }),
            json!({ "kind": "Secret", "data": { "key": "dHdv", "more": "eA==" }, "type": "Opaque" }),
            "data.key: \"(secret)\" -> \"(secret)\"\ndata.more: - -> \"(secret)\"",
        );
    }

    #[test]
    fn quotes_keys_with_dots() {
        check(
            json!({ "metadata": { "labels": { "app.kubernetes.io/name": "a", "b": "c" } } }),
            json!({ "metadata": { "labels": { "b": "c" } } }),
            r#"metadata.labels["app.kubernetes.io/name"]: "a" -> -"#,
        );
    }
}

//! Differences between what is there and what a server says would be there, field by field.

use std::collections::BTreeMap;

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
    let mut changes = Vec::new();
    compare("", Some(&visible(before)), Some(&visible(after)), &mut changes);
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

fn visible(object: &Object) -> Value {
    let mut value = object.json().clone();
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = value["metadata"].as_object_mut() {
        for name in SERVER_METADATA {
            metadata.remove(name);
        }
    }
    value
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<FieldChange>) {
    match (present(before), present(after)) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
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
            r#"spec.containers[name=b].image: "b:1" -> "b:2""#,
        );
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

//! Taking objects over from tools that wrote them by `Update`: helm 3 and `kubectl apply`.
//!
//! Server-side apply removes a field only from the manager that *applied* it. What helm 3 or `kubectl apply` wrote stays
//! theirs for ever, so their entry in `managedFields` is made one of ours first (client-go calls it a CSA upgrade).

use serde_json::{Map, Value, json};

use super::model::FieldChange;
use crate::cluster::Object;

/// What has to happen before an object is applied for the first time.
#[derive(Debug, Clone, PartialEq)]
pub struct Takeover {
    /// The object's `metadata.managedFields` afterwards.
    pub managed_fields: Value,
    /// Who owned the fields: `helm`, `kubectl-client-side-apply`.
    pub from: String,
    /// Fields that the old owner set and nobody sets any more: they go with the apply that follows.
    pub dropped: Vec<FieldChange>,
}

/// Says whether an object has to be taken over by a field manager; `None` where nobody wrote it by `Update` before. With
/// `defaults`, the desired object as a server completes it, what the old owner set to the default is not dropped.
pub fn takeover(
    live: &Object,
    desired: &Object,
    manager: &str,
    defaults: Option<&Object>,
) -> Option<Takeover> {
    // helm goes on under its own name; what kubectl applied becomes meshrun's.
    let from = if manager == "helm" { "helm" } else { "kubectl-client-side-apply" };
    // A namespace is everybody's place: labels that others applied say nothing about us, and stay.
    if live.kind() == "Namespace" {
        return None;
    }
    let entries = live.items("/metadata/managedFields");
    let is_old = |entry: &&Value| {
        entry["manager"] == from && entry["operation"] == "Update" && entry.get("subresource").is_none()
    };
    let old: Vec<&Value> = entries.iter().filter(is_old).collect();
    if old.is_empty() {
        return None;
    }
    let is_ours = |entry: &&Value| {
        entry["manager"] == manager && entry["operation"] == "Apply" && entry.get("subresource").is_none()
    };
    let mut fields = Map::new();
    for entry in old.iter().copied().chain(entries.iter().filter(is_ours)) {
        merge(&mut fields, entry["fieldsV1"].as_object());
    }
    let others: Vec<&Value> = entries.iter().filter(|entry| !is_old(entry) && !is_ours(entry)).collect();
    let mut dropped = Vec::new();
    let place = Place {
        live: live.json(),
        desired: Some(desired.json()),
        defaults: defaults.map(Object::json),
        others: others.iter().map(|entry| &entry["fieldsV1"]).collect(),
    };
    walk(&fields, "", &place, &mut dropped);

    let ours = json!({
        "manager": manager,
        "operation": "Apply",
        "apiVersion": old[0]["apiVersion"],
        "time": old[0]["time"],
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    });
    let managed_fields = others.into_iter().cloned().chain([ours]).collect();
    Some(Takeover { managed_fields: Value::Array(managed_fields), from: from.into(), dropped })
}

fn merge(into: &mut Map<String, Value>, from: Option<&Map<String, Value>>) {
    for (key, value) in from.into_iter().flatten() {
        let slot = into.entry(key.clone()).or_insert_with(|| json!({}));
        if let Some(slot) = slot.as_object_mut() {
            merge(slot, value.as_object());
        }
    }
}

/// The same place in all that is compared.
struct Place<'a> {
    live: &'a Value,
    desired: Option<&'a Value>,
    defaults: Option<&'a Value>,
    /// The field sets of other managers.
    others: Vec<&'a Value>,
}

impl<'a> Place<'a> {
    /// One step further, and how people write it; `None` where nothing is there.
    fn enter(&self, key: &str) -> Option<(String, Place<'a>)> {
        let (name, live) = step(key, self.live)?;
        let follow =
            |value: Option<&'a Value>| value.and_then(|value| step(key, value)).map(|(_, value)| value);
        let (desired, defaults) = (follow(self.desired), follow(self.defaults));
        let others = self.others.iter().filter_map(|set| set.get(key)).collect();
        Some((name, Place { live, desired, defaults, others }))
    }
}

/// Collects the fields of a set that the desired state does not have and that no other set has.
fn walk(fields: &Map<String, Value>, path: &str, place: &Place<'_>, dropped: &mut Vec<FieldChange>) {
    for (key, inner) in fields {
        let Some((name, place)) = place.enter(key) else { continue };
        let path = match key.starts_with("f:") {
            true if path.is_empty() => name,
            true if name.contains(['.', '/']) => format!("{path}[\"{name}\"]"),
            true => format!("{path}.{name}"),
            false => format!("{path}[{name}]"),
        };
        match (place.desired, inner.as_object()) {
            // What identifies an object or a list item is not a field to be removed.
            _ if path == "apiVersion" || path == "kind" => {}
            (Some(_), Some(inner)) => walk(inner, &path, &place, dropped),
            // The server puts the default in its place.
            (None, _) if place.defaults == Some(place.live) => {}
            (None, _) if place.others.is_empty() && !place.live.is_null() => {
                let (before, after) = (Some(place.live.clone()), place.defaults.cloned());
                dropped.push(FieldChange { path, before, after });
            }
            _ => {}
        }
    }
}

/// Follows one step of a `FieldsV1` path: `f:name`, `k:{"name":"x"}`, `v:value`. Returns how people write it and what
/// is there; `None` for `.` and for what is not there.
fn step<'a>(key: &str, value: &'a Value) -> Option<(String, &'a Value)> {
    if let Some(name) = key.strip_prefix("f:") {
        return value.get(name).map(|value| (name.to_owned(), value));
    }
    let items = value.as_array()?;
    if let Some(keys) = key.strip_prefix("k:") {
        let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
        let item = items.iter().find(|item| keys.iter().all(|(key, value)| &item[key] == value))?;
        let names: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
        return Some((names.join(","), item));
    }
    let wanted: Value = serde_json::from_str(key.strip_prefix("v:")?).ok()?;
    items.iter().find(|item| **item == wanted).map(|item| (text(&wanted), item))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Object {
        Object::new(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "istiod", "managedFields": [
                { "manager": "helm", "operation": "Update", "apiVersion": "apps/v1", "time": "t", "fieldsType": "FieldsV1",
                  "fieldsV1": { "f:spec": { "f:template": { "f:spec": { "f:containers": {
                      "k:{\"name\":\"discovery\"}": { ".": {}, "f:name": {}, "f:image": {}, "f:tty": {} } } } },
                      "f:paused": {} } } },
                { "manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {} },
                { "manager": "someone", "operation": "Update", "fieldsV1": { "f:spec": { "f:paused": {} } } },
            ] },
            "spec": { "paused": true,
                      "template": { "spec": { "containers": [{ "name": "discovery", "image": "a", "tty": true }] } } },
        }))
        .expect("an object")
    }

    fn desired() -> Object {
        Object::new(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "istiod" },
            "spec": { "template": { "spec": { "containers": [{ "name": "discovery", "image": "b" }] } } },
        }))
        .expect("an object")
    }

    #[test]
    fn makes_helms_update_an_apply_and_names_the_fields_that_go() {
        let takeover = takeover(&live(), &desired(), "helm", None).expect("helm wrote it");
        let dropped: Vec<&str> = takeover.dropped.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(dropped, ["spec.template.spec.containers[name=discovery].tty"]);
        let entries = takeover.managed_fields.as_array().expect("a list");
        let managers: Vec<String> =
            entries.iter().map(|entry| format!("{} {}", entry["manager"], entry["operation"])).collect();
        assert_eq!(
            managers,
            [r#""kube-controller-manager" "Update""#, r#""someone" "Update""#, r#""helm" "Apply""#]
        );
    }

    #[test]
    fn what_the_server_puts_back_is_not_dropped() {
        let completed = |tty: bool| {
            let mut object = desired();
            object.json_mut()["spec"]["template"]["spec"]["containers"][0]["tty"] = json!(tty);
            object
        };
        let dropped = |tty: bool| {
            takeover(&live(), &desired(), "helm", Some(&completed(tty))).expect("helm wrote it").dropped
        };
        assert_eq!(dropped(true), []);
        assert_eq!(dropped(false)[0].after, Some(json!(false)));
    }

    #[test]
    fn leaves_what_others_applied_to_a_namespace_theirs() {
        let namespace = Object::new(json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": "istio-system", "labels": { "team": "mesh" }, "managedFields": [
                { "manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1",
                  "fieldsV1": { "f:metadata": { "f:labels": { "f:team": {} } } } },
            ] },
        }));
        let namespace = namespace.expect("an object");
        assert_eq!(takeover(&namespace, &namespace, "meshrun", None), None);
    }

    #[test]
    fn leaves_objects_alone_that_nobody_wrote_by_update() {
        assert_eq!(takeover(&live(), &desired(), "meshrun", None), None);
    }
}

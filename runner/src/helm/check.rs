//! Rendered objects that an API server is bound to refuse, found before anything is sent; and rendered nulls, removed.

use serde_json::{Map, Value};

use super::HelmError;
use crate::cluster::Object;

/// Lists of a pod's spec whose entries have a key: list, fields of the key.
/// Source: `listMapKey` and `patchMergeKey` in the Kubernetes API types.
const POD_LISTS: &[(&str, &[&str])] = &[
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("volumes", &["name"]),
    ("imagePullSecrets", &["name"]),
    ("hostAliases", &["ip"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
];

/// The same for a container.
const CONTAINER_LISTS: &[(&str, &[&str])] = &[
    ("env", &["name"]),
    ("ports", &["containerPort", "protocol"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
];

/// Returns the object without null fields.
///
/// # Errors
/// Where a label or annotation is no text, or a list has two entries of one key: server-side apply refuses both.
pub(crate) fn clean(chart: &str, mut object: Object) -> Result<Object, HelmError> {
    drop_nulls(object.json_mut());
    let check = Check { chart, object: &object };
    check.texts("", object.at("/metadata"))?;
    if let Some(pod) = pod_template(&object) {
        check.texts("pod ", pod.value.get("metadata"))?;
        if let Some(spec) = pod.value.get("spec") {
            check.pod(&format!("{}.spec", pod.path), spec)?;
        }
    }
    match object.kind() {
        "Pod" => check.pod("spec", &object.json()["spec"])?,
        "Service" if object.api_version() == "v1" => {
            check.list("spec.ports", &object.json()["spec"]["ports"], &["port", "protocol"])?;
        }
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            check.list("webhooks", &object.json()["webhooks"], &["name"])?;
        }
        _ => {}
    }
    Ok(object)
}

/// Removes map entries that are null: charts render `env:` and mean nothing by it.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

struct PodTemplate<'a> {
    path: &'static str,
    value: &'a Value,
}

fn pod_template(object: &Object) -> Option<PodTemplate<'_>> {
    let (pointer, path) = match object.kind() {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
            ("/spec/template", "spec.template")
        }
        "CronJob" => ("/spec/jobTemplate/spec/template", "spec.jobTemplate.spec.template"),
        _ => return None,
    };
    Some(PodTemplate { path, value: object.at(pointer)? })
}

struct Check<'a> {
    chart: &'a str,
    object: &'a Object,
}

impl Check<'_> {
    fn texts(&self, whose: &str, metadata: Option<&Value>) -> Result<(), HelmError> {
        let Some(metadata) = metadata else { return Ok(()) };
        for (field, name) in [("labels", "label"), ("annotations", "annotation")] {
            for (key, value) in metadata[field].as_object().into_iter().flatten() {
                if !value.is_string() {
                    return Err(HelmError::NotText {
                        chart: self.chart.into(),
                        field: format!("{whose}{name} {key}"),
                        object: self.name(),
                        found: describe(value),
                    });
                }
            }
        }
        Ok(())
    }

    fn pod(&self, path: &str, spec: &Value) -> Result<(), HelmError> {
        for (list, key) in POD_LISTS {
            self.list(&format!("{path}.{list}"), &spec[list], key)?;
        }
        for list in ["containers", "initContainers"] {
            for container in spec[list].as_array().into_iter().flatten() {
                let path = format!("{path}.{list}[name={}]", container["name"].as_str().unwrap_or_default());
                for (list, key) in CONTAINER_LISTS {
                    self.list(&format!("{path}.{list}"), &container[list], key)?;
                }
            }
        }
        Ok(())
    }

    fn list(&self, path: &str, list: &Value, key: &[&str]) -> Result<(), HelmError> {
        let Some(items) = list.as_array() else { return Ok(()) };
        let mut seen = Vec::with_capacity(items.len());
        for item in items.iter().filter_map(Value::as_object) {
            let found: Vec<_> = key.iter().map(|field| key_field(item, field)).collect();
            if seen.contains(&found) {
                let key: Vec<_> =
                    key.iter().zip(&found).map(|(field, value)| format!("{field}={value}")).collect();
                return Err(HelmError::DuplicateKey {
                    chart: self.chart.into(),
                    key: format!("{path}[{}]", key.join(",")),
                    object: self.name(),
                });
            }
            seen.push(found);
        }
        Ok(())
    }

    fn name(&self) -> String {
        format!("{} {}", self.object.kind(), self.object.name())
    }
}

fn key_field(item: &Map<String, Value>, field: &str) -> String {
    match item.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        // The API server's default, which counts as part of the key.
        None if field == "protocol" => "TCP".into(),
        None => String::new(),
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(value) => format!("the number {value}"),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a mapping".into(),
        Value::Null | Value::String(_) => "text".into(),
    }
}

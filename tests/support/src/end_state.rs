//! What a finished run leaves in a cluster, without what differs from one run to the next: two end states that are
//! equal are the same mesh.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::{Cluster, Helm, Objects};

/// How long controllers may take until everything has followed: pods that end, addresses that are freed.
const SETTLES: Duration = Duration::from_secs(30);
/// How a difference ends that is too much.
const LEFT_OVER: &str = " is left over";
/// Labels and annotations that say when something happened.
const STAMPS: [&str; 6] = [
    "createdAt",
    "modifiedAt",
    "pod-template-hash",
    "deployment.kubernetes.io/revision",
    "kubectl.kubernetes.io/restartedAt",
    "control-plane.alpha.kubernetes.io/leader",
];
/// Fields that the server or a controller chooses.
const CHOSEN: [&str; 5] = ["caBundle", "clusterIP", "clusterIPs", "nodePort", "healthCheckNodePort"];

/// Objects and Helm releases, as text that can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndState(BTreeMap<String, Vec<String>>);

impl EndState {
    /// Reads it.
    ///
    /// # Panics
    /// When kubectl or helm fail.
    #[track_caller]
    pub fn read(cluster: &Cluster) -> Self {
        let objects = cluster.objects();
        let mut state = BTreeMap::<String, Vec<String>>::new();
        for key in objects.keys(|_| true) {
            let (kind, name) = key.split_once(' ').expect("kind and name");
            let object = objects.of(kind, name);
            if let Some((key, value)) = lasting(&objects, kind, name, object) {
                state.entry(key).or_default().push(value);
            }
        }
        for release in releases(cluster) {
            let (key, value) = release;
            state.entry(key).or_default().push(value);
        }
        for values in state.values_mut() {
            values.sort();
        }
        Self(state)
    }

    /// Says how another state differs from this one, a line for each object; empty where they are equal.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let keys = self.0.keys().chain(other.0.keys().filter(|key| !self.0.contains_key(*key)));
        keys.filter_map(|key| match (self.0.get(key), other.0.get(key)) {
            (Some(_), None) => Some(format!("{key} is missing")),
            (None, Some(_)) => Some(format!("{key}{LEFT_OVER}")),
            (Some(one), Some(other)) if one != other => {
                Some(format!("{key} differs:\n{}", text_difference(&one.join("\n"), &other.join("\n"))))
            }
            _ => None,
        })
        .collect()
    }

    /// Whether a difference is something that the other state has and this one has not.
    pub fn is_leftover(difference: &str) -> bool {
        difference.ends_with(LEFT_OVER)
    }

    /// Reads the cluster until it is in this state; returns the differences that stay.
    #[track_caller]
    pub fn wait_for(&self, cluster: &Cluster) -> Vec<String> {
        let deadline = Instant::now() + SETTLES;
        loop {
            let differences = self.differences(&Self::read(cluster));
            if differences.is_empty() || Instant::now() > deadline {
                return differences;
            }
            thread::sleep(Duration::from_millis(300));
        }
    }
}

/// An object's name and content; `None` for what controllers make and name as they like.
fn lasting(objects: &Objects, kind: &str, name: &str, object: &Value) -> Option<(String, String)> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let namespace = text("/metadata/namespace");
    match kind {
        // An address is named after itself; the server frees it some seconds after its Service.
        "Event" | "EndpointSlice" | "Endpoints" | "IPAddress" => return None,
        "Lease" if namespace.starts_with("kube-") => return None,
        // Old ones are history.
        "ReplicaSet" if object["spec"]["replicas"] == 0 => return None,
        "ReplicaSet" => {
            let key = format!("ReplicaSet {namespace}/{}", text("/metadata/ownerReferences/0/name"));
            return Some((key, object["spec"]["replicas"].to_string()));
        }
        "Pod" => {
            let set = format!("{namespace}/{}", text("/metadata/ownerReferences/0/name"));
            let set = objects.find("ReplicaSet", &set);
            let owner = set.and_then(|set| set["metadata"]["ownerReferences"][0]["name"].as_str());
            let key = format!("Pod {namespace}/{}", owner.unwrap_or(name));
            return Some((key, text("/status/phase").to_owned()));
        }
        _ => {}
    }
    let content = if is_ours(object) { content(object) } else { json!({}) };
    Some((format!("{kind} {name}"), serde_json::to_string_pretty(&content).expect("plain data")))
}

/// Whether a run made the object, so that its content counts too; of others' it counts that they are there.
pub(crate) fn is_ours(object: &Value) -> bool {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut managers = entries.filter_map(|entry| entry["manager"].as_str());
    managers.any(|manager| manager == "meshrun" || manager == "helm")
        || object["type"] == "meshrun.dev/inventory"
}

/// What of an object is the same after every run.
pub(crate) fn content(object: &Value) -> Value {
    let mut content = object.clone();
    let metadata = &object["metadata"];
    let kept: Map<String, Value> = ["labels", "annotations", "finalizers"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), metadata.get(name)?.clone())))
        .collect();
    let inventory = inventory(object);
    let Some(fields) = content.as_object_mut() else { return Value::Null };
    fields.insert("metadata".into(), kept.into());
    fields.remove("status");
    if fields["kind"] == "Secret" {
        // What is in them is random, or compared in another way.
        fields.insert("data".into(), inventory);
    }
    forget(&mut content);
    sorted(&content)
}

/// Objects, creations and releases of each step.
fn inventory(secret: &Value) -> Value {
    let text = secret["data"]["inventory"].as_str().unwrap_or_default();
    let bytes = STANDARD.decode(text).unwrap_or_default();
    let inventory: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    inventory["steps"].clone()
}

fn forget(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !STAMPS.contains(&name.as_str()) && !CHOSEN.contains(&name.as_str()));
            fields.values_mut().for_each(forget);
            // What held nothing but stamps says nothing.
            fields.retain(|_, value| !value.as_object().is_some_and(Map::is_empty));
        }
        Value::Array(items) => items.iter_mut().for_each(forget),
        _ => {}
    }
}

/// The same with the keys in order: servers and managers write them in any.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, Value> =
                fields.iter().map(|(name, value)| (name, self::sorted(value))).collect();
            json!(sorted)
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// Every release: where its last revision stands, its values and its manifest, as helm tells them.
fn releases(cluster: &Cluster) -> Vec<(String, String)> {
    let list = cluster.helm_json(Helm::V3, &["list", "--all", "--all-namespaces"]);
    let list = list.as_array().into_iter().flatten();
    list.map(|release| {
        let text = |field: &str| release[field].as_str().unwrap_or_default().to_owned();
        let (name, namespace) = (text("name"), text("namespace"));
        let ask = |what: &str| cluster.helm(Helm::V3, ["get", what, &name, "-n", &namespace]);
        let head = ["revision", "status", "chart", "app_version"].map(text).join(" ");
        (format!("release {namespace}/{name}"), format!("{head}\n{}\n{}", ask("values"), ask("manifest")))
    })
    .collect()
}

/// The lines that are in one text only.
fn text_difference(one: &str, other: &str) -> String {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.lines().collect(), other.lines().collect());
    let gone = one.iter().filter(|line| !other.contains(line)).map(|line| format!("  - {line}"));
    let new = other.iter().filter(|line| !one.contains(line)).map(|line| format!("  + {line}"));
    let lines: Vec<String> = gone.chain(new).take(30).collect();
    if lines.is_empty() { format!("  {} lines, now {}", one.len(), other.len()) } else { lines.join("\n") }
}

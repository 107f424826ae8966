//! What was in a cluster at one moment, as an independent witness saw it.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use crate::end_state;

/// Kinds that say nothing about what somebody did, or that change by themselves.
const IGNORED: [&str; 4] = ["events", "componentstatuses", "nodes", "ipaddresses"];

/// Objects by kind and name (`namespace/name`, or `name` where they have no namespace).
pub struct Objects(BTreeMap<(String, String), Value>);

/// Which object had which version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<(String, String), String>);

impl Objects {
    pub(crate) fn ignores(resource: &str) -> bool {
        IGNORED.contains(&resource.split('.').next().unwrap_or_default())
    }

    pub(crate) fn new(list: &Value) -> Self {
        let items = list["items"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self(
            items
                .map(|object| {
                    let name = text(&object["metadata"]["name"]);
                    let name = match &object["metadata"]["namespace"] {
                        Value::String(namespace) => format!("{namespace}/{name}"),
                        _ => name,
                    };
                    ((text(&object["kind"]), name), object.clone())
                })
                .collect(),
        )
    }

    /// Returns an object: `of("Deployment", "istio-system/istiod")`.
    ///
    /// # Panics
    /// When it does not exist; the message lists those of its kind.
    #[track_caller]
    pub fn of(&self, kind: &str, name: &str) -> &Value {
        self.find(kind, name).unwrap_or_else(|| {
            let names: Vec<&str> = self.names(kind).collect();
            panic!("no {kind} {name}; there are {names:?}")
        })
    }

    /// Returns an object if it exists.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.0.get(&(kind.to_owned(), name.to_owned()))
    }

    /// Returns the names of all objects of a kind.
    pub fn names(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.0.keys().filter(move |(found, _)| found == kind).map(|(_, name)| name.as_str())
    }

    /// Returns kind and name of the objects that some test wants: `keys(|object| ...)`.
    pub fn keys(&self, wanted: impl Fn(&Value) -> bool) -> Vec<String> {
        self.0
            .iter()
            .filter(|(_, object)| wanted(object))
            .map(|((kind, name), _)| format!("{kind} {name}"))
            .collect()
    }

    /// Asserts that an object says what it should at each JSON pointer.
    ///
    /// # Panics
    /// When it does not exist or says something else; the message names every difference.
    #[track_caller]
    pub fn check(&self, kind: &str, name: &str, wanted: &[(&str, Value)]) {
        let object = self.of(kind, name);
        let differences: Vec<String> = wanted
            .iter()
            .filter_map(|(pointer, wanted)| {
                let found = object.pointer(pointer).unwrap_or(&Value::Null);
                (found != wanted).then(|| format!("  {pointer}: {found}, wanted {wanted}"))
            })
            .collect();
        assert!(differences.is_empty(), "{kind} {name}:\n{}", differences.join("\n"));
    }

    /// Returns what meshrun made, by kind and name: what has a field that it, or it as helm, looks after; each object
    /// without what differs from one run to the next.
    pub fn made(&self) -> BTreeMap<String, Value> {
        let ours = self.0.iter().filter(|(_, object)| end_state::is_ours(object));
        ours.map(|((kind, name), object)| (format!("{kind} {name}"), end_state::content(object))).collect()
    }

    /// Returns every object's version, for "nothing was written". What clients and controllers renew is left out: Leases
    /// of nodes and of the control plane.
    pub fn snapshot(&self) -> Snapshot {
        let versions =
            self.0.iter().filter(|((kind, name), _)| !(kind == "Lease" && name.starts_with("kube-")));
        Snapshot(versions.map(|(key, object)| (key.clone(), version(object))).collect())
    }
}

/// What moves when an object is written. An autoscaler's status is written by its controller as time goes by, so there
/// it is the object without it.
fn version(object: &Value) -> String {
    if object["kind"] != "HorizontalPodAutoscaler" {
        return object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    }
    let mut written = object.clone();
    written["status"] = Value::Null;
    written["metadata"]["resourceVersion"] = Value::Null;
    if let Some(entries) = written["metadata"]["managedFields"].as_array_mut() {
        entries.retain(|entry| entry["subresource"] != "status");
    }
    written.to_string()
}

impl Snapshot {
    /// Says what was written since, a line for each object: `changed Gateway istio-system/default-gateway`.
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (key, version) in &now.0 {
            match self.0.get(key) {
                None => changes.push(format!("created {} {}", key.0, key.1)),
                Some(before) if before != version => changes.push(format!("changed {} {}", key.0, key.1)),
                Some(_) => {}
            }
        }
        let gone = self.0.keys().filter(|key| !now.0.contains_key(*key));
        changes.extend(gone.map(|key| format!("deleted {} {}", key.0, key.1)));
        changes
    }

    /// Asserts that nothing was written since.
    ///
    /// # Panics
    /// When something was; the message names the objects, and `context`.
    #[track_caller]
    pub fn assert_unchanged(&self, now: &Self, context: &dyn fmt::Display) {
        let changes = self.changes(now);
        assert!(changes.is_empty(), "something was written:\n{}\n{context}", changes.join("\n"));
    }
}

//! What the controllers of a cluster would do after a write, with readiness assumed.
//!
//! In come the objects as they are; out go status, pods and endpoints. Each controller looks at what is there and
//! puts what should be there; they run in turn until none of them changes anything.

mod istio;
mod kinds;
mod network;
mod pods;
mod workloads;

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::store::{Key, Store, Stored, now};
use crate::cluster::Object;

/// How the simulated cluster behaves.
#[derive(Debug, Clone)]
pub(super) struct Simulation {
    /// How long everything takes to become ready.
    pub(super) delay: Duration,
    /// What never becomes ready, as errors name it, and why: `ImagePullBackOff: no such image`.
    pub(super) never_ready: BTreeMap<String, String>,
    /// Whether Services of type LoadBalancer get an address.
    pub(super) load_balancer: bool,
}

/// How far an object has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Readiness {
    Ready,
    NotYet,
    /// Never, for this reason, in these words.
    Never(String, String),
}

impl Simulation {
    fn readiness(&self, stored: &Stored) -> Readiness {
        match self.never_ready.get(&stored.object.to_string()) {
            Some(why) => {
                let (reason, message) = why.split_once(": ").unwrap_or((why, why));
                Readiness::Never(reason.into(), message.into())
            }
            None if stored.since + self.delay <= Instant::now() => Readiness::Ready,
            None => Readiness::NotYet,
        }
    }

    /// When the next object becomes ready, if one is on the way.
    pub(super) fn next_due(&self, store: &Store) -> Option<Instant> {
        let now = Instant::now();
        store.all().map(|stored| stored.since + self.delay).filter(|due| *due > now).min()
    }
}

/// Lets every controller work until nothing changes any more.
pub(super) fn settle(store: &mut Store, simulation: &Simulation) {
    // What one controller does can concern another at most a few times over; a circle would be a bug here.
    for _ in 0..16 {
        let before = store.revision();
        kinds::run(store, simulation);
        workloads::run(store, simulation);
        network::run(store, simulation);
        istio::run(store, simulation);
        if store.revision() == before {
            break;
        }
    }
}

/// Copies the objects of a kind, so that the store can be changed meanwhile.
fn of_kind(store: &Store, group: &str, kind: &str) -> Vec<Stored> {
    store.of_kind(group, kind).cloned().collect()
}

/// Puts an object back with another status.
fn put_status(store: &mut Store, object: &Object, status: Value) {
    let mut object = object.clone();
    object.json_mut()["status"] = status;
    store.put(object);
}

/// A condition for an object's status; keeps its transition time while its status stays.
fn condition(object: &Object, name: &str, status: bool, reason: &str, message: &str) -> Value {
    let status = if status { "True" } else { "False" };
    let since = object
        .condition(name)
        .filter(|before| before["status"] == status)
        .and_then(|before| before["lastTransitionTime"].as_str())
        .map_or_else(now, Into::into);
    json!({
        "type": name, "status": status, "reason": reason, "message": message, "lastTransitionTime": since,
    })
}

fn is_true(object: &Object, condition: &str) -> bool {
    object.condition(condition).is_some_and(|condition| condition["status"] == "True")
}

fn owner(object: &Object) -> Value {
    json!([{
        "apiVersion": object.api_version(), "kind": object.kind(), "name": object.name(), "uid": object.uid(),
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// Says once, as an Event, why an object does not get ready.
fn warn(store: &mut Store, about: &Object, reason: &str, message: &str) {
    let name = format!("{}.rehearsal", about.name());
    let namespace = about.namespace().unwrap_or("default");
    let time = now();
    let event = object(json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": name, "namespace": namespace },
        "involvedObject": {
            "apiVersion": about.api_version(), "kind": about.kind(), "name": about.name(),
            "namespace": namespace, "uid": about.uid(),
        },
        "type": "Warning", "reason": reason, "message": message, "count": 1,
        "firstTimestamp": time, "lastTimestamp": time, "source": { "component": "rehearsal" },
    }));
    if store.get(&Key::of(&event.reference())).is_none() {
        store.put(event);
    }
}

fn object(value: Value) -> Object {
    Object::new(value).expect("the controllers make whole objects")
}

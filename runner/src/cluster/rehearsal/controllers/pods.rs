//! Pods: made from the template of their workload, running as soon as their workload may be ready.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Readiness, condition, is_true, object, owner, put_status, warn};
use crate::cluster::{
    Object,
    rehearsal::store::{Key, Store},
};

/// The pods that a workload wants.
pub(super) struct Wanted<'a> {
    /// The workload, or the ReplicaSet in between.
    pub(super) owner: &'a Object,
    /// Their names.
    pub(super) names: Vec<String>,
    /// What they are made from.
    pub(super) template: &'a Value,
    /// The label that carries the hash of the template, and the hash.
    pub(super) revision: (&'static str, &'a str),
    /// How far the workload has come.
    pub(super) readiness: &'a Readiness,
}

/// Makes the wanted pods, removes the owner's others, and returns how many are ready.
pub(super) fn ensure(store: &mut Store, wanted: &Wanted<'_>) -> usize {
    let (label, hash) = wanted.revision;
    let superfluous: Vec<Key> = owned(store, "", "Pod", wanted.owner)
        .filter(|pod| pod.label(label) != Some(hash) || !wanted.names.iter().any(|name| name == pod.name()))
        .map(|pod| Key::of(&pod.reference()))
        .collect();
    for key in superfluous {
        store.remove(&key);
    }
    let mut ready = 0;
    for name in &wanted.names {
        let new = object(new_pod(wanted, name));
        let pod = match store.get(&Key::of(&new.reference())) {
            Some(stored) => stored.object.clone(),
            None => store.put(new),
        };
        run(store, &pod, wanted.readiness);
        ready += usize::from(is_true(&pod, "Ready") || *wanted.readiness == Readiness::Ready);
    }
    ready
}

/// Brings a pod's status to where its readiness is. A pod that is ready stays so.
pub(super) fn run(store: &mut Store, pod: &Object, readiness: &Readiness) {
    if is_true(pod, "Ready") || pod.text("/status/phase") == "Succeeded" {
        return;
    }
    if let Readiness::Never(reason, message) = readiness {
        warn(store, pod, reason, message);
    }
    put_status(store, pod, status(pod, readiness));
}

/// The objects of a kind that an object owns.
pub(super) fn owned<'a>(
    store: &'a Store,
    group: &str,
    kind: &str,
    owner: &'a Object,
) -> impl Iterator<Item = &'a Object> {
    store
        .in_namespace(group, kind, owner.namespace())
        .map(|stored| &stored.object)
        .filter(|object| object.items("/metadata/ownerReferences").iter().any(|by| by["uid"] == owner.uid()))
}

/// A short name for a template, as ReplicaSets carry it.
pub(super) fn hash(template: &Value) -> String {
    Sha256::digest(template.to_string()).iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

fn new_pod(wanted: &Wanted<'_>, name: &str) -> Value {
    let (label, hash) = wanted.revision;
    let mut labels = wanted.template["metadata"]["labels"].clone();
    labels[label] = json!(hash);
    let mut metadata = json!({
        "name": name, "namespace": wanted.owner.namespace(), "labels": labels,
        "ownerReferences": owner(wanted.owner),
    });
    if let Some(annotations) = wanted.template["metadata"].get("annotations") {
        metadata["annotations"] = annotations.clone();
    }
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": wanted.template["spec"] })
}

fn status(pod: &Object, readiness: &Readiness) -> Value {
    let started = pod.text("/metadata/creationTimestamp");
    let ready = *readiness == Readiness::Ready;
    let runs_to_its_end = matches!(pod.text("/spec/restartPolicy"), "Never" | "OnFailure");
    if ready && runs_to_its_end {
        return json!({ "phase": "Succeeded", "startTime": started });
    }
    let state = match readiness {
        Readiness::Ready => json!({ "running": { "startedAt": started } }),
        Readiness::NotYet => json!({ "waiting": { "reason": "ContainerCreating" } }),
        Readiness::Never(reason, message) => json!({ "waiting": { "reason": reason, "message": message } }),
    };
    let containers = pod.items("/spec/containers");
    let names: Vec<_> = containers.iter().filter_map(|container| container["name"].as_str()).collect();
    let (reason, message) = if ready {
        ("", String::new())
    } else {
        ("ContainersNotReady", format!("containers with unready status: [{}]", names.join(" ")))
    };
    let statuses: Vec<_> = containers
        .iter()
        .map(|container| {
            json!({
                "name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0,
                "ready": ready, "started": ready, "state": state,
            })
        })
        .collect();
    json!({
        "phase": if ready { "Running" } else { "Pending" },
        "startTime": started,
        "podIP": address(pod),
        "conditions": [
            condition(pod, "PodScheduled", true, "", ""),
            condition(pod, "Initialized", true, "", ""),
            condition(pod, "ContainersReady", ready, reason, &message),
            condition(pod, "Ready", ready, reason, &message),
        ],
        "containerStatuses": statuses,
    })
}

fn address(pod: &Object) -> String {
    let digest = Sha256::digest(pod.to_string());
    format!("10.244.{}.{}", digest[0], digest[1])
}

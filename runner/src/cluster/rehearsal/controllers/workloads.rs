//! Deployments (through ReplicaSets), StatefulSets and DaemonSets get pods and become available.

use serde_json::{Value, json};

use super::{
    Readiness, Simulation, condition, is_true, object, of_kind, owner,
    pods::{self, Wanted},
    put_status,
};
use crate::cluster::{
    Object,
    rehearsal::store::{Key, Store, Stored},
};

pub(super) fn run(store: &mut Store, simulation: &Simulation) {
    for deployment in of_kind(store, "apps", "Deployment") {
        self::deployment(store, simulation, &deployment);
    }
    for set in of_kind(store, "apps", "StatefulSet") {
        stateful_set(store, simulation, &set);
    }
    for set in of_kind(store, "apps", "DaemonSet") {
        daemon_set(store, simulation, &set);
    }
    for pod in of_kind(store, "", "Pod") {
        if pod.object.items("/metadata/ownerReferences").is_empty() {
            let readiness = simulation.readiness(&pod);
            pods::run(store, &pod.object, &readiness);
        }
    }
}

fn replicas(object: &Object) -> usize {
    let asked = object.at("/spec/replicas").and_then(Value::as_u64);
    asked.and_then(|replicas| replicas.try_into().ok()).unwrap_or(1)
}

fn deployment(store: &mut Store, simulation: &Simulation, deployment: &Stored) {
    let readiness = simulation.readiness(deployment);
    let deployment = &deployment.object;
    let template = &deployment.json()["spec"]["template"];
    let wanted = replicas(deployment);
    let hash = pods::hash(template);
    let set = replica_set(store, deployment, &hash, wanted);
    let names = (0..wanted).map(|n| format!("{}-{n}", set.name())).collect();
    let revision = ("pod-template-hash", hash.as_str());
    let updated =
        pods::ensure(store, &Wanted { owner: &set, names, template, revision, readiness: &readiness });
    let counts = json!({ "replicas": wanted, "readyReplicas": updated, "availableReplicas": updated });
    put_status(store, &set, counts);

    let older: Vec<Object> = pods::owned(store, "apps", "ReplicaSet", deployment)
        .filter(|other| other.name() != set.name())
        .cloned()
        .collect();
    let mut old = (0, 0);
    for other in &older {
        if updated >= wanted {
            store.remove(&Key::of(&other.reference()));
        } else {
            let pods = pods::owned(store, "", "Pod", other);
            old = pods.fold(old, |(all, ready), pod| (all + 1, ready + usize::from(is_true(pod, "Ready"))));
        }
    }
    let ready = updated + old.1;
    let status = json!({
        "observedGeneration": deployment.at("/metadata/generation"),
        "replicas": wanted + old.0,
        "updatedReplicas": wanted,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": wanted.saturating_sub(updated),
        "conditions": deployment_conditions(deployment, ready >= wanted, updated >= wanted),
    });
    put_status(store, deployment, status);
}

fn deployment_conditions(deployment: &Object, available: bool, complete: bool) -> [Value; 2] {
    let (reason, message) = match available {
        true => ("MinimumReplicasAvailable", "Deployment has minimum availability."),
        false => ("MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
    };
    let progress = if complete { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" };
    [
        condition(deployment, "Available", available, reason, message),
        condition(deployment, "Progressing", true, progress, ""),
    ]
}

fn replica_set(store: &mut Store, deployment: &Object, hash: &str, replicas: usize) -> Object {
    let template = &deployment.json()["spec"]["template"];
    let mut labels = template["metadata"]["labels"].clone();
    labels["pod-template-hash"] = json!(hash);
    let new = object(json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{hash}", deployment.name()), "namespace": deployment.namespace(),
            "labels": labels, "ownerReferences": owner(deployment),
        },
        "spec": { "replicas": replicas, "selector": { "matchLabels": labels }, "template": template },
    }));
    match store.get(&Key::of(&new.reference())) {
        Some(stored) => {
            let mut set = stored.object.clone();
            set.json_mut()["spec"]["replicas"] = json!(replicas);
            store.put(set)
        }
        None => store.put(new),
    }
}

fn stateful_set(store: &mut Store, simulation: &Simulation, set: &Stored) {
    let wanted = replicas(&set.object);
    let names = (0..wanted).map(|n| format!("{}-{n}", set.object.name())).collect();
    let (ready, hash) = own_pods(store, &simulation.readiness(set), &set.object, names);
    let revision = format!("{}-{hash}", set.object.name());
    let status = json!({
        "observedGeneration": set.object.at("/metadata/generation"),
        "replicas": wanted, "currentReplicas": wanted, "updatedReplicas": wanted,
        "readyReplicas": ready, "availableReplicas": ready,
        "currentRevision": revision, "updateRevision": revision,
    });
    put_status(store, &set.object, status);
}

/// A rehearsal has one node.
fn daemon_set(store: &mut Store, simulation: &Simulation, set: &Stored) {
    let names = vec![format!("{}-0", set.object.name())];
    let (ready, _) = own_pods(store, &simulation.readiness(set), &set.object, names);
    let status = json!({
        "observedGeneration": set.object.at("/metadata/generation"),
        "desiredNumberScheduled": 1, "currentNumberScheduled": 1, "updatedNumberScheduled": 1,
        "numberMisscheduled": 0, "numberReady": ready, "numberAvailable": ready,
    });
    put_status(store, &set.object, status);
}

fn own_pods(store: &mut Store, readiness: &Readiness, set: &Object, names: Vec<String>) -> (usize, String) {
    let template = &set.json()["spec"]["template"];
    let hash = pods::hash(template);
    let revision = ("controller-revision-hash", hash.as_str());
    let ready = pods::ensure(store, &Wanted { owner: set, names, template, revision, readiness });
    (ready, hash)
}

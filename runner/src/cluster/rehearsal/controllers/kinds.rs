//! CRDs become Established, namespaces Active with a ServiceAccount, Jobs complete.

use serde_json::{Value, json};

use super::{Readiness, Simulation, condition, is_true, object, of_kind, put_status};
use crate::cluster::{
    Object,
    rehearsal::store::{Key, Store, Stored, now},
};

pub(super) fn run(store: &mut Store, simulation: &Simulation) {
    let crds = "CustomResourceDefinition";
    // CRDs are large: only those with work to do are copied.
    let unserved: Vec<Stored> =
        store.of_kind("apiextensions.k8s.io", crds).filter(|crd| !is_served(&crd.object)).cloned().collect();
    for crd in unserved {
        establish(store, simulation, &crd);
    }
    for namespace in of_kind(store, "", "Namespace") {
        activate(store, &namespace.object);
    }
    for job in of_kind(store, "batch", "Job") {
        complete(store, simulation, &job);
    }
}

/// Whether this generation of a CRD is served.
fn is_served(crd: &Object) -> bool {
    is_true(crd, "Established") && crd.at("/status/observedGeneration") == crd.at("/metadata/generation")
}

fn establish(store: &mut Store, simulation: &Simulation, crd: &Stored) {
    let object = &crd.object;
    let conditions = match simulation.readiness(crd) {
        Readiness::NotYet => return,
        Readiness::Never(reason, message) => vec![
            condition(object, "NamesAccepted", false, &reason, &message),
            condition(object, "Established", false, "NotAccepted", "not all names are accepted"),
        ],
        Readiness::Ready => {
            store.schemas.add_crd(object);
            vec![
                condition(object, "NamesAccepted", true, "NoConflicts", "no conflicts found"),
                condition(
                    object,
                    "Established",
                    true,
                    "InitialNamesAccepted",
                    "the initial names have been accepted",
                ),
            ]
        }
    };
    let storage = object.items("/spec/versions").iter().filter(|version| version["storage"] == true);
    let stored: Vec<&Value> = storage.map(|version| &version["name"]).collect();
    let status = json!({
        "acceptedNames": object.at("/spec/names"),
        "conditions": conditions,
        "storedVersions": stored,
        "observedGeneration": object.at("/metadata/generation"),
    });
    put_status(store, object, status);
}

fn activate(store: &mut Store, namespace: &Object) {
    put_status(store, namespace, json!({ "phase": "Active" }));
    let account = object(json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "default", "namespace": namespace.name() },
    }));
    if store.get(&Key::of(&account.reference())).is_none() {
        store.put(account);
    }
}

fn complete(store: &mut Store, simulation: &Simulation, job: &Stored) {
    let object = &job.object;
    if is_true(object, "Complete") || is_true(object, "Failed") {
        return;
    }
    let started = json!(object.text("/metadata/creationTimestamp"));
    let status = match simulation.readiness(job) {
        Readiness::NotYet => json!({ "active": 1, "startTime": started }),
        Readiness::Never(reason, message) => json!({
            "failed": 1, "startTime": started,
            "conditions": [condition(object, "Failed", true, &reason, &message)],
        }),
        Readiness::Ready => json!({
            "succeeded": object.at("/spec/completions").unwrap_or(&json!(1)),
            "startTime": started, "completionTime": now(),
            "conditions": [condition(object, "Complete", true, "CompletionsReached", "reached expected number of succeeded pods")],
        }),
    };
    put_status(store, object, status);
}

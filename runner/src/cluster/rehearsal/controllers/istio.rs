//! istiod's part that others wait for: CA bundles in its webhooks, and the validator that starts to fail closed.
//!
//! Istio's `pkg/webhooks/webhookpatch.go` and `pkg/webhooks/validation/controller/controller.go` do this once
//! istiod runs; the second turns `failurePolicy` from `Ignore` to `Fail`.

use base64::{Engine, prelude::BASE64_STANDARD};
use meshrun_protocol::ObjectRef;
use serde_json::{Value, json};

use super::{Readiness, Simulation, is_true, network, of_kind};
use crate::cluster::{
    Object,
    rehearsal::store::{Key, Store, Stored},
};

pub(super) fn run(store: &mut Store, simulation: &Simulation) {
    let group = "admissionregistration.k8s.io";
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        for configuration in of_kind(store, group, kind) {
            patch(store, simulation, &configuration);
        }
    }
}

fn patch(store: &mut Store, simulation: &Simulation, configuration: &Stored) {
    if simulation.readiness(configuration) != Readiness::Ready {
        return;
    }
    let validates = configuration.object.kind() == "ValidatingWebhookConfiguration";
    let mut object = configuration.object.clone();
    let webhooks = object.json_mut()["webhooks"].as_array_mut();
    for webhook in webhooks.into_iter().flatten() {
        if answers(store, &webhook["clientConfig"]["service"]) {
            webhook["clientConfig"]["caBundle"] = json!(BASE64_STANDARD.encode("a rehearsal has no CA"));
            if validates {
                webhook["failurePolicy"] = json!("Fail");
            }
        }
    }
    store.put(object);
}

/// Whether istiod is ready behind a webhook's service.
fn answers(store: &Store, service: &Value) -> bool {
    let (Some(namespace), Some(name)) = (service["namespace"].as_str(), service["name"].as_str()) else {
        return false;
    };
    let key = Key::of(&ObjectRef::namespaced("v1", "Service", namespace, name));
    let istiod = |pod: &Object| pod.label("app") == Some("istiod") && is_true(pod, "Ready");
    store.get(&key).is_some_and(|service| network::selected(store, &service.object).any(istiod))
}

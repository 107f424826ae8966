//! Fields of our objects that others set later and own from then on: istiod, autoscalers, cloud controllers.
//!
//! Source: istio-facts, fields that a drift detector must leave to others. An object that exists is applied without
//! them, so that what the others wrote stays and nobody fights; a new object is applied whole.

use serde_json::Value;

use crate::cluster::Object;

/// Removes from `desired` what others have set in `live` and own there.
pub fn leave_to_others(desired: &mut Object, live: &Object) {
    let webhook = desired.api_version().starts_with("admissionregistration.k8s.io/")
        && matches!(desired.kind(), "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration");
    if webhook {
        leave_webhooks_to_istiod(desired, live);
    }
}

/// istiod writes `caBundle` into every webhook and turns `failurePolicy` from `Ignore` to `Fail`.
fn leave_webhooks_to_istiod(desired: &mut Object, live: &Object) {
    let live: Vec<Value> = live.items("/webhooks").to_vec();
    let Some(webhooks) = desired.json_mut()["webhooks"].as_array_mut() else { return };
    for webhook in webhooks {
        let Some(live) = live.iter().find(|other| other["name"] == webhook["name"]) else { continue };
        let Some(webhook) = webhook.as_object_mut() else { continue };
        let has_bundle = live["clientConfig"]["caBundle"].as_str().is_some_and(|bundle| !bundle.is_empty());
        if !has_bundle {
            continue;
        }
        if let Some(client) = webhook.get_mut("clientConfig").and_then(Value::as_object_mut) {
            client.remove("caBundle");
        }
        if live["failurePolicy"] == "Fail" {
            webhook.remove("failurePolicy");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn validator(policy: &str, bundle: &str) -> Object {
        Object::new(json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": "istiod-default-validator" },
            "webhooks": [{ "name": "validation.istio.io", "failurePolicy": policy,
                           "clientConfig": { "caBundle": bundle, "service": { "name": "istiod" } } }],
        }))
        .unwrap()
    }

    #[test]
    fn leaves_ca_bundle_and_failure_policy_to_istiod_once_it_has_set_them() {
        let mut desired = validator("Ignore", "");
        leave_to_others(&mut desired, &validator("Fail", "Q0E="));
        assert_eq!(
            desired.at("/webhooks/0").unwrap(),
            &json!({ "name": "validation.istio.io", "clientConfig": { "service": { "name": "istiod" } } })
        );
    }

    #[test]
    fn applies_everything_while_istiod_has_not_been_there() {
        let mut desired = validator("Ignore", "");
        leave_to_others(&mut desired, &validator("Ignore", ""));
        assert_eq!(desired, validator("Ignore", ""));
    }
}

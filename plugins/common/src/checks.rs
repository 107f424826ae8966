//! Checks that more than one plugin makes.

use meshrun_sdk::prelude::{Check, Cx, ObjectRef, Result, Value};

use crate::observe::{condition, list, name_of};

/// A skipped check where nothing runs that could answer: a rehearsal.
pub fn needs_running(cx: &Cx<'_>, id: &str, title: &str) -> Option<Check> {
    cx.cluster().rehearsal.then(|| Check::skipped(id, title, "nothing runs in a rehearsal"))
}

/// Counts in words: `1 pod`, `2 pods`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Checks that a Deployment has all the replicas it asks for, and at least `at_least`, ready.
///
/// # Errors
/// When the cluster cannot be read.
pub fn deployment(cx: &Cx<'_>, id: &str, reference: &ObjectRef, at_least: u64) -> Result<Check> {
    let title = format!("{reference} is available");
    if let Some(skipped) = needs_running(cx, id, &title) {
        return Ok(skipped);
    }
    let Some(object) = cx.get(reference)? else {
        return Ok(Check::failed(id, title, "it does not exist").with_hint("run the pipeline"));
    };
    let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1).max(at_least);
    let ready = object["status"]["readyReplicas"].as_u64().unwrap_or(0);
    let stale = object["status"]["observedGeneration"].as_u64() < object["metadata"]["generation"].as_u64();
    let evidence = format!("{ready} of {wanted} replicas are ready");
    Ok(if stale {
        Check::failed(id, title, "its newest generation was not looked at yet")
    } else if ready < wanted {
        Check::failed(id, title, evidence).with_hint(pod_trouble(&object))
    } else {
        Check::passed(id, title, evidence)
    })
}

fn pod_trouble(deployment: &Value) -> String {
    let conditions = deployment.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "ReplicaFailure")
        .and_then(|condition| condition["message"].as_str())
        .map_or_else(
            || "look at the events of its pods".to_owned(),
            |message| format!("pods are refused: {message}"),
        )
}

/// Checks that all these CRDs are established.
///
/// # Errors
/// When the cluster cannot be read.
pub fn crds_established(cx: &Cx<'_>, id: &str, title: &str, names: &[&str]) -> Result<Check> {
    let crds = list(cx, "apiextensions.k8s.io/v1", "CustomResourceDefinition", None, "")?;
    let established = |name: &&&str| {
        crds.iter().any(|crd| name_of(crd) == **name && condition(crd, "Established") == Some("True"))
    };
    let (good, bad): (Vec<&&str>, Vec<&&str>) = names.iter().partition(established);
    Ok(if bad.is_empty() {
        Check::passed(id, title, format!("{} CRDs are established", good.len()))
    } else {
        let bad = bad.into_iter().copied().collect::<Vec<_>>().join(", ");
        Check::failed(
            id,
            title,
            format!("{} of {} CRDs are established; missing: {bad}", good.len(), names.len()),
        )
    })
}

/// Checks that every webhook of a configuration has a CA bundle and, where asked for, fails closed.
///
/// # Errors
/// When the cluster cannot be read.
pub fn webhook(cx: &Cx<'_>, id: &str, reference: &ObjectRef, fail_closed: bool) -> Result<Check> {
    let title = format!("{reference} is in force");
    if let Some(skipped) = needs_running(cx, id, &title) {
        return Ok(skipped);
    }
    let Some(object) = cx.get(reference)? else {
        return Ok(Check::failed(id, title, "it does not exist").with_hint("run the pipeline"));
    };
    let webhooks = object["webhooks"].as_array().map_or(&[][..], Vec::as_slice);
    let named = |wanted: &dyn Fn(&Value) -> bool| {
        let names: Vec<&str> =
            webhooks.iter().filter(|hook| wanted(hook)).filter_map(|hook| hook["name"].as_str()).collect();
        names.join(", ")
    };
    let unsigned = named(&|hook| hook["clientConfig"]["caBundle"].as_str().is_none_or(str::is_empty));
    let open = named(&|hook| hook["failurePolicy"] == "Ignore");
    Ok(if webhooks.is_empty() {
        Check::failed(id, title, "it has no webhooks")
    } else if !unsigned.is_empty() {
        Check::failed(id, title, format!("no CA bundle in {unsigned}"))
            .with_hint("istiod puts it in: look at its log")
    } else if fail_closed && !open.is_empty() {
        Check::failed(id, title, format!("failurePolicy is Ignore in {open}")).with_hint(
            "istiod sets Fail once the API server reaches its port 15017: check the nodes' firewall",
        )
    } else {
        let policy = if open.is_empty() { ", failurePolicy is Fail" } else { "" };
        Check::passed(id, title, format!("{} with a CA bundle{policy}", counted(webhooks.len(), "webhook")))
    })
}

/// Checks that a Service has a ready endpoint.
///
/// # Errors
/// When the cluster cannot be read.
pub fn endpoints(cx: &Cx<'_>, id: &str, namespace: &str, service: &str) -> Result<Check> {
    let title = format!("Service {namespace}/{service} has ready endpoints");
    if let Some(skipped) = needs_running(cx, id, &title) {
        return Ok(skipped);
    }
    let selector = format!("kubernetes.io/service-name={service}");
    let slices = list(cx, "discovery.k8s.io/v1", "EndpointSlice", Some(namespace), &selector)?;
    let ready = slices
        .iter()
        .filter_map(|slice| slice["endpoints"].as_array())
        .flatten()
        // An absent `ready` means ready: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices
        .filter(|endpoint| endpoint["conditions"]["ready"].as_bool().unwrap_or(true))
        .count();
    Ok(match ready {
        0 => {
            Check::failed(id, title, "none").with_hint("its pods are not ready, or its selector matches none")
        }
        ready => Check::passed(id, title, format!("{ready} ready")),
    })
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{
        prelude::{CheckStatus, json},
        testing::FakeCluster,
    };

    use super::*;

    fn istiod() -> ObjectRef {
        ObjectRef::namespaced("apps/v1", "Deployment", "istio-system", "istiod")
    }

    fn with_ready(ready: u64) -> FakeCluster {
        FakeCluster::new().with(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "istiod", "namespace": "istio-system", "generation": 1 },
            "spec": { "replicas": 2 },
            "status": { "observedGeneration": 1, "readyReplicas": ready },
        }))
    }

    #[test]
    fn deployment_needs_all_its_replicas() -> Result<()> {
        let check = deployment(&with_ready(2).cx("istiod"), "istiod", &istiod(), 1)?;
        assert_eq!(
            (check.status, check.evidence.as_str()),
            (CheckStatus::Passed, "2 of 2 replicas are ready")
        );
        let check = deployment(&with_ready(1).cx("istiod"), "istiod", &istiod(), 1)?;
        assert_eq!(
            (check.status, check.evidence.as_str()),
            (CheckStatus::Failed, "1 of 2 replicas are ready")
        );
        let check = deployment(&FakeCluster::new().cx("istiod"), "istiod", &istiod(), 1)?;
        assert_eq!((check.status, check.evidence.as_str()), (CheckStatus::Failed, "it does not exist"));
        Ok(())
    }

    #[test]
    fn webhook_without_ca_bundle_or_open_is_not_in_force() -> Result<()> {
        let reference =
            ObjectRef::cluster("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "v");
        let with = |webhook: Value| {
            FakeCluster::new().with(json!({
                "apiVersion": reference.api_version, "kind": reference.kind, "metadata": { "name": "v" },
                "webhooks": [webhook],
            }))
        };
        let evidence = |webhook: Value| -> Result<String> {
            Ok(super::webhook(&with(webhook).cx("istiod"), "validator", &reference, true)?.evidence)
        };
        assert_eq!(
            evidence(json!({ "name": "v.istio.io", "clientConfig": {} }))?,
            "no CA bundle in v.istio.io"
        );
        let open = json!({ "name": "v.istio.io", "clientConfig": { "caBundle": "eA==" }, "failurePolicy": "Ignore" });
        assert_eq!(evidence(open)?, "failurePolicy is Ignore in v.istio.io");
        let closed =
            json!({ "name": "v.istio.io", "clientConfig": { "caBundle": "eA==" }, "failurePolicy": "Fail" });
        assert_eq!(evidence(closed)?, "1 webhook with a CA bundle, failurePolicy is Fail");
        Ok(())
    }

    #[test]
    fn missing_crds_are_named() -> Result<()> {
        let cluster = FakeCluster::new().with(json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": "gateways.networking.istio.io" },
            "status": { "conditions": [{ "type": "Established", "status": "True" }] },
        }));
        let names = ["gateways.networking.istio.io", "sidecars.networking.istio.io"];
        let check = crds_established(&cluster.cx("base"), "crds", "Istio's CRDs are established", &names)?;
        assert_eq!(check.evidence, "1 of 2 CRDs are established; missing: sidecars.networking.istio.io");
        Ok(())
    }
}

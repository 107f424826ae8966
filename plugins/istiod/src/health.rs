//! Whether the control plane is up, of the right version, and its webhooks in force.

use meshrun_plugin_common::{checks, containers, istiod_pods, name_of, running_version, version_in};
use meshrun_sdk::prelude::{Check, Cx, Result, Value};

use crate::{
    Config,
    chart_values::chart_values,
    release::{min_replicas, validators},
};

pub(crate) fn check(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
    let plane = config.control_plane();
    let values = chart_values(config);
    let pods = istiod_pods(cx, &plane)?;
    let at_least = min_replicas(&values).unwrap_or(1);
    let mut checks = vec![
        checks::deployment(cx, "istiod-available", &plane.deployment(), at_least.into())?,
        image(config, cx, &pods),
        version(config, cx, &pods),
        checks::endpoints(cx, "istiod-endpoints", &config.namespace, &plane.istiod())?,
        checks::webhook(cx, "istiod-injector", &plane.injector(), true)?,
    ];
    for validator in validators(config, &values, cx)? {
        let id = if validator.name == "istiod-default-validator" { "default-validator" } else { "validator" };
        checks.push(checks::webhook(cx, &format!("istiod-{id}"), &validator, true)?);
    }
    Ok(checks)
}

fn image(config: &Config, cx: &Cx<'_>, pods: &[Value]) -> Check {
    let (id, title) = ("istiod-image", format!("the pods of istiod have the image of {}", config.version));
    if let Some(skipped) = checks::needs_running(cx, id, &title) {
        return skipped;
    }
    let images: Vec<&str> = pods
        .iter()
        .flat_map(containers)
        .filter_map(|(container, image)| (container == "discovery").then_some(image))
        .collect();
    let others: Vec<&str> =
        images.iter().copied().filter(|image| version_in(image).as_ref() != Some(&config.version)).collect();
    match (images.first(), others.first()) {
        (None, _) => Check::failed(id, title, "istiod has no pods"),
        (Some(image), None) => Check::passed(id, title, *image),
        (_, Some(other)) => {
            Check::failed(id, title, *other).with_hint("a rollout is under way, or the tag is overridden")
        }
    }
}

fn version(config: &Config, cx: &Cx<'_>, pods: &[Value]) -> Check {
    let (id, title) = ("istiod-version", format!("istiod runs {}", config.version));
    if let Some(skipped) = checks::needs_running(cx, id, &title) {
        return skipped;
    }
    let mut right = Vec::new();
    let mut wrong = Vec::new();
    let mut silent = Vec::new();
    for pod in pods {
        match running_version(cx, pod) {
            Ok(version) if version == config.version.as_str() => right.push(name_of(pod)),
            Ok(version) => wrong.push(format!("{} runs {version}", name_of(pod))),
            Err(error) => silent.push(format!("{}: {error}", name_of(pod))),
        }
    }
    if !wrong.is_empty() {
        Check::failed(id, title, wrong.join(", ")).with_hint("restart the Deployment, or run the pipeline")
    } else if !silent.is_empty() {
        Check::skipped(id, title, silent.join(", "))
    } else if right.is_empty() {
        Check::failed(id, title, "istiod has no pods")
    } else {
        let verb = if right.len() == 1 { "says" } else { "say" };
        Check::passed(id, title, format!("{} {verb} so", right.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{prelude::json, serde_json::from_value, testing::FakeCluster};

    use super::*;

    fn pod(name: &str, image: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": "istio-system", "labels": { "app": "istiod", "istio.io/rev": "default" },
            },
            "spec": { "containers": [{ "name": "discovery", "image": image }] },
            "status": { "phase": "Running" },
        })
    }

    fn webhook(kind: &str, name: &str, policy: &str) -> Value {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": { "name": name },
            "webhooks": [{
                "name": "x.istio.io", "failurePolicy": policy,
                "clientConfig": { "caBundle": "eA==", "service": { "name": "istiod" } },
            }],
        })
    }

    fn installed() -> FakeCluster {
        FakeCluster::new()
            .with(json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": "istiod", "namespace": "istio-system" },
                "spec": { "replicas": 1 }, "status": { "readyReplicas": 1 },
            }))
            .with(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": "istiod-x", "namespace": "istio-system",
                    "labels": { "kubernetes.io/service-name": "istiod" },
                },
                "endpoints": [{ "addresses": ["10.0.0.1"], "conditions": { "ready": true } }],
            }))
            .with(webhook("MutatingWebhookConfiguration", "istio-sidecar-injector", "Fail"))
    }

    fn report(cluster: &FakeCluster) -> Result<String> {
        let config: Config = from_value(json!({ "version": "1.19.3" })).expect("a configuration");
        let line = |check: &Check| format!("{:?} {}: {}", check.status, check.title, check.evidence);
        Ok(check(&config, &cluster.cx("istiod"))?.iter().map(line).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn healthy_control_plane() -> Result<()> {
        let cluster = installed()
            .with(pod("istiod-a", "docker.io/istio/pilot:1.19.3"))
            .with(webhook("ValidatingWebhookConfiguration", "istiod-default-validator", "Fail"))
            .answering("pod istio-system/istiod-a:15014/version", 200, "1.19.3-ab7a9b5c-Clean");
        insta::assert_snapshot!(report(&cluster)?, @r"
        Passed Deployment istio-system/istiod is available: 1 of 1 replicas are ready
        Passed the pods of istiod have the image of 1.19.3: docker.io/istio/pilot:1.19.3
        Passed istiod runs 1.19.3: istiod-a says so
        Passed Service istio-system/istiod has ready endpoints: 1 ready
        Passed MutatingWebhookConfiguration istio-sidecar-injector is in force: 1 webhook with a CA bundle, failurePolicy is Fail
        Passed ValidatingWebhookConfiguration istiod-default-validator is in force: 1 webhook with a CA bundle, failurePolicy is Fail
        ");
        Ok(())
    }

    #[test]
    fn other_version_and_open_validator_are_failures() -> Result<()> {
        let cluster = installed()
            .with(pod("istiod-a", "docker.io/istio/pilot:1.19.3"))
            .with(pod("istiod-b", "docker.io/istio/pilot:1.18.2"))
            .with(webhook("ValidatingWebhookConfiguration", "istiod-default-validator", "Ignore"))
            .answering("pod istio-system/istiod-a:15014/version", 200, "1.19.3-ab7a9b5c-Clean")
            .answering("pod istio-system/istiod-b:15014/version", 200, "1.18.2-ffffffff-Clean");
        insta::assert_snapshot!(report(&cluster)?, @r"
        Passed Deployment istio-system/istiod is available: 1 of 1 replicas are ready
        Failed the pods of istiod have the image of 1.19.3: docker.io/istio/pilot:1.18.2
        Failed istiod runs 1.19.3: istiod-b runs 1.18.2
        Passed Service istio-system/istiod has ready endpoints: 1 ready
        Passed MutatingWebhookConfiguration istio-sidecar-injector is in force: 1 webhook with a CA bundle, failurePolicy is Fail
        Failed ValidatingWebhookConfiguration istiod-default-validator is in force: failurePolicy is Ignore in x.istio.io
        ");
        Ok(())
    }

    #[test]
    fn rehearsal_judges_nothing_that_runs() -> Result<()> {
        insta::assert_snapshot!(report(&FakeCluster::new().rehearsal())?, @r"
        Skipped Deployment istio-system/istiod is available: nothing runs in a rehearsal
        Skipped the pods of istiod have the image of 1.19.3: nothing runs in a rehearsal
        Skipped istiod runs 1.19.3: nothing runs in a rehearsal
        Skipped Service istio-system/istiod has ready endpoints: nothing runs in a rehearsal
        Skipped MutatingWebhookConfiguration istio-sidecar-injector is in force: nothing runs in a rehearsal
        Skipped ValidatingWebhookConfiguration istiod-default-validator is in force: nothing runs in a rehearsal
        ");
        Ok(())
    }
}

//! What should be there: the release, an available istiod, and its webhooks in force.
//!
//! The gate at the end matters to everything after it. A pod that is made before the injector works has no proxy, and
//! an object that is applied while the validator still fails open is never validated. istiod flips `failurePolicy` to
//! `Fail` only after a test object was really rejected, so the gate also proves the way from the API server to istiod.

use meshrun_plugin_common::{ControlPlane, ISTIO_CHARTS};
use meshrun_sdk::prelude::{Cx, Helm, ObjectRef, Plan, Result, Value, WaitCondition, WaitFor, json};

use crate::{Config, chart_values::chart_values, upgrade};

pub(crate) fn plan(config: &Config, cx: &Cx<'_>) -> Result<Plan> {
    let plane = config.control_plane();
    let values = chart_values(config);
    let min_replicas = min_replicas(&values);
    let webhooks = webhooks(config, &values, cx)?;
    let mut plan = upgrade::findings(config, cx)?.into_iter().fold(Plan::new(), Plan::diagnostic);
    plan = plan.helm(
        "chart",
        Helm {
            release: config.release_name(),
            namespace: config.namespace.clone(),
            chart: config.chart.chart("istiod", config.version.as_str(), ISTIO_CHARTS),
            values,
        },
    );
    if let Some(at_least) = min_replicas {
        plan = plan.scale("replicas", plane.deployment(), at_least);
    }
    Ok(plan
        .wait("available", plane.deployment(), WaitCondition::Available { min_replicas, nudge: false })
        .wait_all("webhooks", webhooks)
        .output("version", config.version.as_str())
        .output("revision", plane.rev())
        .output("namespace", config.namespace.as_str())
        .output("extension_providers", json!(config.provider_names())))
}

/// Replicas that the autoscaler will ask for, where that is more than the one a Deployment starts with.
pub(crate) fn min_replicas(values: &Value) -> Option<u32> {
    if values.pointer("/pilot/autoscaleEnabled") == Some(&json!(false)) {
        return None;
    }
    let min = values.pointer("/pilot/autoscaleMin")?.as_u64()?;
    u32::try_from(min).ok().filter(|min| *min > 1)
}

fn webhooks(config: &Config, values: &Value, cx: &Cx<'_>) -> Result<Vec<WaitFor>> {
    let in_force =
        |object, fail_closed| WaitFor { object, until: WaitCondition::WebhookReady { fail_closed } };
    let validators = validators(config, values, cx)?.into_iter().map(|object| in_force(object, true));
    Ok(validators.chain([in_force(config.control_plane().injector(), false)]).collect())
}

/// Validating webhooks that this istiod is responsible for, without the one that raw values switch off.
pub(crate) fn validators(config: &Config, values: &Value, cx: &Cx<'_>) -> Result<Vec<ObjectRef>> {
    let mut validators = config.control_plane().validators(&config.version, cx)?;
    if values.pointer("/global/configValidation") == Some(&json!(false)) {
        validators.retain(|validator| *validator == ControlPlane::default_validator());
    }
    Ok(validators)
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{serde_json::from_value, testing::FakeCluster};

    use super::*;

    fn config(with: Value) -> Config {
        from_value(with).expect("a configuration")
    }

    fn validator_of(service: &str) -> Value {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": "istiod-default-validator" },
            "webhooks": [{ "name": "validation.istio.io", "clientConfig": { "service": { "name": service } } }],
        })
    }

    fn gate(config: &Config, cluster: &FakeCluster) -> Result<Vec<(String, bool)>> {
        let values = chart_values(config);
        let webhooks = webhooks(config, &values, &cluster.cx("istiod"))?;
        Ok(webhooks
            .into_iter()
            .map(|wait| (wait.object.name, wait.until == WaitCondition::WebhookReady { fail_closed: true }))
            .collect())
    }

    #[test]
    fn guide_step_3() -> Result<()> {
        let config = config(json!({
            "version": "1.19.3",
            "mesh_id": "eks-cluster",
            "network": "eks-cluster",
            "resources": {
                "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "cpu": "500m", "memory": "2Gi" },
            },
            "env": {
                "EXTERNAL_ISTIOD": false,
                "PILOT_TRACE_SAMPLING": "1.0",
                "PILOT_ENABLE_WORKLOAD_ENTRY_AUTOREGISTRATION": true,
                "PILOT_ENABLE_CROSS_CLUSTER_WORKLOAD_ENTRY": true,
            },
            "trace_sampling": 1.0,
            "telemetry_v2": true,
            "access_log_file": "/dev/stdout",
            "num_trusted_proxies": 2,
        }));
        let cluster = FakeCluster::new().version("v1.28.9");
        insta::assert_json_snapshot!(plan(&config, &cluster.cx("istiod"))?.into_response());
        Ok(())
    }

    #[test]
    fn canary_with_two_replicas() -> Result<()> {
        let config = config(json!({
            "version": "1.30.3", "namespace": "mesh", "revision": "1-30", "revision_tags": ["prod"],
            "autoscale": { "min": 2, "max": 4, "target_cpu": 70 }, "hub": "registry.example.com/istio",
            "extension_providers": [{ "name": "tempo", "opentelemetry": { "service": "tempo.svc", "port": 4317 } }],
        }));
        insta::assert_json_snapshot!(plan(&config, &FakeCluster::new().cx("istiod"))?.into_response());
        Ok(())
    }

    #[test]
    fn gate_waits_for_the_webhooks_that_are_this_istiods() -> Result<()> {
        let empty = FakeCluster::new();
        let default = ("istiod-default-validator".to_owned(), true);
        let injector = ("istio-sidecar-injector".to_owned(), false);
        let own = ("istio-validator-istio-system".to_owned(), true);
        assert_eq!(
            gate(&config(json!({ "version": "1.19.3" })), &empty)?,
            [default.clone(), injector.clone()]
        );
        assert_eq!(
            gate(&config(json!({ "version": "1.30.3" })), &empty)?,
            [default.clone(), own.clone(), injector.clone()]
        );
        let unvalidated =
            json!({ "version": "1.30.3", "values": { "global": { "configValidation": false } } });
        assert_eq!(gate(&config(unvalidated), &empty)?, [default.clone(), injector.clone()]);
        let without = FakeCluster::new().serving("networking.istio.io/v1beta1", "Gateway");
        assert_eq!(gate(&config(json!({ "version": "1.19.3" })), &without)?, vec![injector.clone()]);
        let moved = FakeCluster::new().with(validator_of("istiod-1-30"));
        assert_eq!(gate(&config(json!({ "version": "1.30.3" })), &moved)?, [own, injector]);
        let canary = config(json!({ "version": "1.30.3", "revision": "1-30" }));
        let names: Vec<String> = gate(&canary, &moved)?.into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["istiod-default-validator", "istio-validator-1-30-istio-system", "istio-sidecar-injector-1-30"]
        );
        Ok(())
    }

    #[test]
    fn unreadable_cluster_is_an_error() {
        let cluster = FakeCluster::new().forbidding("validatingwebhookconfigurations is forbidden");
        let error = plan(&config(json!({ "version": "1.30.3" })), &cluster.cx("istiod"))
            .expect_err("no right to read");
        assert_eq!(error.to_string(), "validatingwebhookconfigurations is forbidden");
    }
}

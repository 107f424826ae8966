//! What should be there: the release behind the webhook gate, ready pods, the Gateway, and an address.
//!
//! The pod template says `image: auto`; the injector puts the proxy there. A pod made without it keeps that image for
//! good, so nothing is made before the injector works. The autoscaler takes 15 seconds to its first look, so the
//! replicas it will ask for are asked for right away. The address depends on a cloud, so it is a phase of its own.

use meshrun_plugin_common::{ISTIO_CHARTS, containers, object, pods, reference};
use meshrun_sdk::prelude::{
    Cx, Diagnostic, Helm, ObjectRef, Plan, Result, Value, WaitCondition, WaitFor, json,
};

use crate::{
    Config, ServiceType,
    chart_values::{chart_values, istio_label, min_replicas, name},
    default_gateway, load_balancer, skew,
};

/// The image of a pod that no injector has seen.
pub(crate) const NOT_INJECTED: &str = "auto";

pub(crate) fn plan(config: &Config, cx: &Cx<'_>) -> Result<Plan> {
    let controller = load_balancer::detect(config, cx)?;
    let annotations = load_balancer::annotations(config, controller);
    let values = chart_values(config, &annotations);
    let min_replicas = min_replicas(&values);
    let gateway = default_gateway::design(config, cx)?;
    let present = cx.get(&service(config))?;

    let mut plan = Plan::new();
    for finding in namespace_findings(config, cx)?
        .into_iter()
        .chain(skew::finding(config, cx)?)
        .chain(load_balancer::findings(config, controller, present.as_ref(), &annotations))
        .chain(gateway.iter().flat_map(|gateway| gateway.findings.clone()))
    {
        plan = plan.diagnostic(finding);
    }
    if config.create_namespace {
        plan = plan.apply("namespace", vec![object("v1", "Namespace", &config.namespace).build()]);
    }
    plan = plan.wait_all("webhooks", gate(config, cx)?).helm(
        "chart",
        Helm {
            release: config.release.clone(),
            namespace: config.namespace.clone(),
            chart: config.chart.chart("gateway", config.version.as_str(), ISTIO_CHARTS),
            values,
        },
    );
    if let Some(at_least) = min_replicas {
        plan = plan.scale("replicas", deployment(config), at_least);
    }
    let stuck = stuck_pods(config, cx)?;
    if !stuck.is_empty() {
        plan = plan.delete("stuck-pods", stuck);
    }
    plan = plan.wait("available", deployment(config), WaitCondition::Available { min_replicas, nudge: true });
    let (secret, gateway) =
        gateway.map_or((None, None), |designed| (designed.secret, Some(designed.gateway)));
    let objects: Vec<Value> =
        secret.into_iter().chain(config.objects.iter().cloned()).chain(gateway).collect();
    if !objects.is_empty() {
        plan = plan.apply("gateway", objects);
    }
    plan = address(plan, config)
        .output("selector", json!({ "istio": istio_label(config) }))
        .output("namespace", config.namespace.as_str());
    if config.default_gateway.enabled {
        plan = plan.output("gateway", format!("{}/{}", config.namespace, config.default_gateway.name));
    }
    Ok(plan)
}

/// The webhooks that must be in force: the injector for the pods, the validators for the Gateway.
fn gate(config: &Config, cx: &Cx<'_>) -> Result<Vec<WaitFor>> {
    let plane = config.control_plane();
    let in_force =
        |object, fail_closed| WaitFor { object, until: WaitCondition::WebhookReady { fail_closed } };
    let validators = plane.validators(&config.version, cx)?.into_iter().map(|object| in_force(object, true));
    Ok([in_force(plane.injector(), false)].into_iter().chain(validators).collect())
}

fn address(plan: Plan, config: &Config) -> Plan {
    let service = service(config);
    match config.service.kind {
        ServiceType::None => plan,
        ServiceType::LoadBalancer => {
            let mut plan = plan.output_from(
                "address",
                service.clone(),
                &["/status/loadBalancer/ingress/0/hostname", "/status/loadBalancer/ingress/0/ip"],
            );
            if config.address.wait {
                plan = plan
                    .wait("address", service, WaitCondition::LoadBalancerAddress)
                    .timeout(config.address.timeout);
                if !config.address.required {
                    plan = plan.optional();
                }
            }
            plan
        }
        ServiceType::ClusterIP | ServiceType::NodePort => {
            plan.output_from("address", service, &["/spec/clusterIP"])
        }
    }
}

/// Pods that were made before the injector worked; they never get an image, their ReplicaSet makes better ones.
fn stuck_pods(config: &Config, cx: &Cx<'_>) -> Result<Vec<ObjectRef>> {
    let pods = pods(cx, Some(&config.namespace), &pod_selector(config))?;
    Ok(pods
        .iter()
        .filter(|pod| containers(pod).iter().any(|(_, image)| *image == NOT_INJECTED))
        .map(reference)
        .collect())
}

fn namespace_findings(config: &Config, cx: &Cx<'_>) -> Result<Option<Diagnostic>> {
    let namespace = cx.get(&ObjectRef::cluster("v1", "Namespace", &config.namespace))?;
    let disabled =
        namespace.is_some_and(|namespace| namespace["metadata"]["labels"]["istio-injection"] == "disabled");
    Ok(disabled.then(|| {
        Diagnostic::error("/namespace", format!("injection is disabled in namespace {}", config.namespace))
            .with_code("istio/injection-disabled")
            .with_hint("the gateway's pods get their proxy by injection: take the label istio-injection=disabled off")
    }))
}

pub(crate) fn pod_selector(config: &Config) -> String {
    format!("istio={}", istio_label(config))
}

pub(crate) fn deployment(config: &Config) -> ObjectRef {
    ObjectRef::namespaced("apps/v1", "Deployment", &config.namespace, name(config))
}

pub(crate) fn service(config: &Config) -> ObjectRef {
    ObjectRef::namespaced("v1", "Service", &config.namespace, name(config))
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{serde_json::from_value, testing::FakeCluster};

    use super::*;

    fn config(with: Value) -> Config {
        from_value(with).expect("a configuration")
    }

    fn ids(plan: &Plan) -> Vec<&str> {
        plan.actions().iter().map(|action| action.id.as_str()).collect()
    }

    #[test]
    fn guide_step_5_and_6() -> Result<()> {
        let config = config(json!({
            "version": "1.19.3",
            "service": { "type": "LoadBalancer", "load_balancer": { "controller": "aws-ccm", "cross_zone": true } },
            "resources": {
                "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "cpu": "2000m", "memory": "1024Mi" },
            },
            "autoscaling": { "min": 2, "max": 4, "target_cpu": 80 },
            "pod_disruption_budget": { "min_available": 1 },
            "default_gateway": { "tls": { "secret": "default-gateway-certs" } },
        }));
        let cluster = FakeCluster::new().with(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "default-gateway-certs", "namespace": "istio-system" },
            "data": { "tls.crt": "eA==", "tls.key": "eA==" },
        }));
        insta::assert_json_snapshot!(plan(&config, &cluster.cx("gateway"))?.into_response());
        Ok(())
    }

    #[test]
    fn own_namespace_revision_and_required_address() -> Result<()> {
        let config = config(json!({
            "version": "1.30.3", "namespace": "istio-ingress", "create_namespace": true, "revision": "1-30",
            "release": "edge", "address": { "required": true, "timeout": 60 },
            "default_gateway": {
                "name": "public", "hosts": ["*.example.com"],
                "tls": { "secret": "certs", "certificate": "CERT", "key": "KEY" },
            },
            "objects": [{ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "extra", "namespace": "istio-ingress" } }],
        }));
        insta::assert_json_snapshot!(plan(&config, &FakeCluster::new().cx("gateway"))?.into_response());
        Ok(())
    }

    #[test]
    fn nothing_is_made_before_the_webhook_gate() -> Result<()> {
        let plan = plan(&config(json!({ "version": "1.30.3" })), &FakeCluster::new().cx("gateway"))?;
        assert_eq!(ids(&plan), ["webhooks", "chart", "available", "gateway", "address"]);
        Ok(())
    }

    #[test]
    fn address_is_waited_for_only_where_one_can_come() -> Result<()> {
        let ids_of = |with: Value| -> Result<Vec<String>> {
            let plan = plan(&config(with), &FakeCluster::new().cx("gateway"))?;
            Ok(ids(&plan).into_iter().map(str::to_owned).collect())
        };
        let without = ["webhooks", "chart", "available", "gateway"];
        assert_eq!(ids_of(json!({ "version": "1.30.3", "service": { "type": "ClusterIP" } }))?, without);
        assert_eq!(ids_of(json!({ "version": "1.30.3", "service": { "type": "None" } }))?, without);
        assert_eq!(ids_of(json!({ "version": "1.30.3", "address": { "wait": false } }))?, without);
        Ok(())
    }

    #[test]
    fn pods_that_were_never_injected_are_replaced() -> Result<()> {
        let pod = |name: &str, image: &str| {
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": name, "namespace": "istio-system", "labels": { "istio": "gateway" } },
                "spec": { "containers": [{ "name": "istio-proxy", "image": image }] },
            })
        };
        let cluster = FakeCluster::new()
            .with(pod("istio-gateway-a", "auto"))
            .with(pod("istio-gateway-b", "docker.io/istio/proxyv2:1.30.3"));
        let plan = plan(&config(json!({ "version": "1.30.3" })), &cluster.cx("gateway"))?;
        assert_eq!(ids(&plan), ["webhooks", "chart", "stuck-pods", "available", "gateway", "address"]);
        assert_eq!(json!(plan.actions()[2].kind)["objects"].as_array().map(Vec::len), Some(1));
        Ok(())
    }

    #[test]
    fn namespace_without_injection_is_refused() -> Result<()> {
        let cluster = FakeCluster::new().with(json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": "istio-system", "labels": { "istio-injection": "disabled" } },
        }));
        let response = plan(&config(json!({ "version": "1.30.3" })), &cluster.cx("gateway"))?.into_response();
        assert_eq!(response.diagnostics[0].message, "injection is disabled in namespace istio-system");
        Ok(())
    }
}

//! Values of the chart `gateway`, and the names that follow from them.

use meshrun_plugin_common::{
    StringMap,
    values::{prune, with_raw},
};
use meshrun_sdk::prelude::{Value, json};

use crate::{Config, Port, ServiceType, TrafficPolicy};

/// Returns the chart's values.
pub(crate) fn chart_values(config: &Config, annotations: &StringMap) -> Value {
    let service = &config.service;
    let mut values = json!({
        "revision": config.control_plane().revision,
        "service": {
            "type": match service.kind {
                ServiceType::LoadBalancer => "LoadBalancer",
                ServiceType::NodePort => "NodePort",
                ServiceType::ClusterIP => "ClusterIP",
                ServiceType::None => "None",
            },
            "annotations": annotations,
            "externalTrafficPolicy": service.external_traffic_policy.map(|policy| match policy {
                TrafficPolicy::Cluster => "Cluster",
                TrafficPolicy::Local => "Local",
            }),
            "loadBalancerSourceRanges": (!service.source_ranges.is_empty()).then_some(&service.source_ranges),
            "ports": (!service.ports.is_empty()).then(|| service.ports.iter().map(port).collect::<Vec<_>>()),
        },
        "resources": config.resources,
        "autoscaling": {
            "enabled": config.replicas.is_none(),
            "minReplicas": config.autoscaling.min,
            "maxReplicas": config.autoscaling.max,
            "targetCPUUtilizationPercentage": config.autoscaling.target_cpu,
        },
        "replicaCount": config.replicas,
        "podDisruptionBudget": {
            "minAvailable": config.pod_disruption_budget.min_available,
            "maxUnavailable": config.pod_disruption_budget.max_unavailable,
        },
    });
    prune(&mut values);
    with_raw(values, &config.values)
}

fn port(port: &Port) -> Value {
    json!({
        "name": port.name, "port": port.port, "protocol": "TCP", "targetPort": port.target_port.unwrap_or(port.port),
    })
}

/// Name of Deployment, Service and ServiceAccount.
pub(crate) fn name(config: &Config) -> &str {
    let override_name = config.values.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    override_name.unwrap_or(&config.release)
}

/// Value of the label `istio` on the gateway's pods, which a Gateway selects by: the chart takes the prefix `istio-`
/// off the name.
pub(crate) fn istio_label(config: &Config) -> &str {
    let name = name(config);
    let label = config.values.get("labels").and_then(|labels| labels["istio"].as_str());
    label.unwrap_or_else(|| name.strip_prefix("istio-").unwrap_or(name))
}

/// Replicas that the autoscaler will ask for, where that is more than the one a Deployment starts with.
pub(crate) fn min_replicas(values: &Value) -> Option<u32> {
    if values.pointer("/autoscaling/enabled") == Some(&json!(false)) {
        return None;
    }
    let min = values.pointer("/autoscaling/minReplicas")?.as_u64()?;
    u32::try_from(min).ok().filter(|min| *min > 1)
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::serde_json::from_value;

    use super::*;

    fn config(mut with: Value) -> Config {
        with["version"] = json!("1.30.3");
        from_value(with).expect("a configuration")
    }

    #[test]
    fn label_follows_the_release_as_the_chart_has_it() {
        assert_eq!(istio_label(&config(json!({}))), "gateway");
        assert_eq!(istio_label(&config(json!({ "release": "istio-ingressgateway" }))), "ingressgateway");
        assert_eq!(istio_label(&config(json!({ "release": "edge" }))), "edge");
        assert_eq!(istio_label(&config(json!({ "values": { "name": "istio-edge" } }))), "edge");
        assert_eq!(istio_label(&config(json!({ "values": { "labels": { "istio": "public" } } }))), "public");
    }

    #[test]
    fn everything_that_can_be_said() {
        let config = config(json!({
            "revision": "1-30",
            "service": {
                "type": "NodePort", "external_traffic_policy": "Local", "source_ranges": ["10.0.0.0/8"],
                "ports": [{ "name": "http2", "port": 80, "target_port": 8080 }, { "name": "https", "port": 443 }],
            },
            "replicas": 3,
            "resources": { "limits": { "cpu": 2 } },
            "pod_disruption_budget": { "max_unavailable": 1 },
            "values": { "env": { "A": "b" }, "service": { "type": null } },
        }));
        insta::assert_json_snapshot!(chart_values(&config, &StringMap::new()));
    }

    #[test]
    fn fixed_replicas_are_no_lower_bound() {
        let values = |with: Value| chart_values(&config(with), &StringMap::new());
        assert_eq!(min_replicas(&values(json!({ "replicas": 3 }))), None);
        assert_eq!(min_replicas(&values(json!({}))), None);
        assert_eq!(min_replicas(&values(json!({ "autoscaling": { "min": 2 } }))), Some(2));
        assert_eq!(
            min_replicas(&values(json!({ "values": { "autoscaling": { "minReplicas": 3 } } }))),
            Some(3)
        );
    }
}

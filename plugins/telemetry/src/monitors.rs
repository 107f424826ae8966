//! The monitors that let the Prometheus operator scrape istiod and the gateway.
//!
//! istiod serves its metrics at `/metrics` of port 15014, which its Service has. A gateway serves them at
//! `/stats/prometheus` of port 15090, which its Service has not: hence a PodMonitor.

use meshrun_plugin_common::{StringMap, list, name_of, object, string_map};
use meshrun_sdk::prelude::{Cx, Diagnostic, Error, ObjectRef, Plan, Result, Value, json};

use crate::config::{Config, Gateway};

/// API of the Prometheus operator.
pub(crate) const API: &str = "monitoring.coreos.com/v1";

/// Adds the monitors where they are wanted and their API is served.
///
/// # Errors
/// When the cluster cannot be read, or monitors are insisted on and their API is not served.
pub(crate) fn plan(config: &Config, cx: &Cx<'_>, plan: Plan) -> Result<Plan> {
    if config.monitors.enabled == Some(false) {
        return Ok(plan.output("monitors", false));
    }
    if !served(cx)? {
        if config.monitors.enabled == Some(true) {
            return Err(Error::new("the cluster serves no ServiceMonitor and PodMonitor")
                .at("/monitors/enabled")
                .with_hint("install the Prometheus operator first, or leave `monitors.enabled` out"));
        }
        let left_out =
            Diagnostic::hint("/monitors", "monitors are left out: the cluster serves no ServiceMonitor")
                .with_code("prometheus/no-operator")
                .with_hint("install the Prometheus operator and run the pipeline again");
        return Ok(plan.diagnostic(left_out).output("monitors", false));
    }
    let plan = plan.apply("monitors", objects(config)).output("monitors", true);
    Ok(unselected(config, cx)?.into_iter().fold(plan, Plan::diagnostic))
}

/// Whether the cluster serves both kinds.
pub(crate) fn served(cx: &Cx<'_>) -> Result<bool> {
    Ok(cx.serves(API, "ServiceMonitor")? && cx.serves(API, "PodMonitor")?)
}

/// Returns the monitors.
pub(crate) fn objects(config: &Config) -> Vec<Value> {
    let labels = &config.monitors.labels;
    let istiod = object(API, "ServiceMonitor", &config.namespace)
        .namespace(&config.namespace)
        .labels(&string_map([("app", "istiod")]))
        .labels(labels)
        .spec(json!({
            "selector": { "matchLabels": { "app": "istiod" } },
            "endpoints": [{ "port": "http-monitoring", "path": "/metrics" }],
        }))
        .build();
    let gateway = config.monitors.gateway.as_ref().map(|gateway| pod_monitor(config, gateway, labels));
    std::iter::once(istiod).chain(gateway).collect()
}

/// Names the monitors.
pub(crate) fn references(config: &Config) -> Vec<ObjectRef> {
    objects(config).iter().map(meshrun_plugin_common::reference).collect()
}

fn pod_monitor(config: &Config, gateway: &Gateway, labels: &StringMap) -> Value {
    object(API, "PodMonitor", &gateway.name)
        .namespace(gateway.namespace.as_deref().unwrap_or(&config.namespace))
        .labels(&string_map([("app", &gateway.name)]))
        .labels(labels)
        .spec(json!({
            "selector": { "matchLabels": gateway.match_labels },
            "podMetricsEndpoints": [{ "port": "http-envoy-prom", "path": "/stats/prometheus" }],
        }))
        .build()
}

/// Says so where a Prometheus is there and none selects the monitors: kube-prometheus-stack takes only those with
/// its own `release` label.
fn unselected(config: &Config, cx: &Cx<'_>) -> Result<Option<Diagnostic>> {
    let all = list(cx, API, "Prometheus", None, "")?;
    let selects = |prometheus: &Value| {
        objects(config).iter().all(|monitor| {
            let field =
                if monitor["kind"] == "PodMonitor" { "podMonitorSelector" } else { "serviceMonitorSelector" };
            matches(&prometheus["spec"][field], monitor)
        })
    };
    if all.is_empty() || all.iter().any(selects) {
        return Ok(None);
    }
    let wanted: Vec<String> = all
        .iter()
        .map(|prometheus| {
            let labels = &prometheus["spec"]["serviceMonitorSelector"]["matchLabels"];
            format!("{} selects {labels}", name_of(prometheus))
        })
        .collect();
    Ok(Some(
        Diagnostic::warning("/monitors/labels", "no Prometheus of the cluster selects these monitors")
            .with_code("prometheus/not-selected")
            .with_hint(format!("set `monitors.labels`: Prometheus {}", wanted.join("; "))),
    ))
}

/// Whether a label selector takes an object; `null` takes none, an expression is given the benefit of the doubt.
fn matches(selector: &Value, object: &Value) -> bool {
    let labels = &object["metadata"]["labels"];
    let Some(selector) = selector.as_object() else { return false };
    selector
        .get("matchLabels")
        .and_then(Value::as_object)
        .is_none_or(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
}

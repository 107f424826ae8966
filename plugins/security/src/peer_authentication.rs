//! From the configured modes to PeerAuthentications, and to the old DestinationRule where it is asked for.

use meshrun_mesh_facts::mtls::Mode;
use meshrun_plugin_common::object;
use meshrun_sdk::{
    prelude::{Plan, Value, json},
    serde_json::Map,
};

use crate::config::{Config, Exception};

/// Name of the policies that speak for a whole namespace or the mesh, as Istio's documentation has it.
pub(crate) const DEFAULT: &str = "default";

/// Adds the policies: those of namespaces and workloads first, so that the mesh's mode never catches one of them
/// before its exception is there.
pub(crate) fn plan(config: &Config, plan: Plan) -> Plan {
    let api = config.version.security_api();
    let policy = |namespace: &str, mode: Mode| {
        object(api, "PeerAuthentication", DEFAULT)
            .namespace(namespace)
            .spec(json!({ "mtls": { "mode": mode } }))
            .build()
    };
    let narrow: Vec<Value> = config
        .mtls
        .exceptions
        .iter()
        .map(|exception| exception_policy(api, exception))
        .chain(config.mtls.namespaces.iter().map(|(namespace, mode)| policy(namespace, *mode)))
        .collect();
    let plan = if narrow.is_empty() { plan } else { plan.apply("exceptions", narrow) };
    let plan = plan.apply("mesh-mode", vec![policy(&config.namespace, config.mtls.mode)]);
    if config.mtls.legacy_destination_rule {
        plan.apply("destination-rule", vec![legacy_destination_rule(config)])
    } else {
        plan
    }
}

fn exception_policy(api: &str, exception: &Exception) -> Value {
    let mut spec = Map::new();
    spec.insert("selector".into(), json!({ "matchLabels": exception.match_labels }));
    if let Some(mode) = exception.mode {
        spec.insert("mtls".into(), json!({ "mode": mode }));
    }
    if !exception.ports.is_empty() {
        let ports: Map<String, Value> =
            exception.ports.iter().map(|(port, mode)| (port.to_string(), json!({ "mode": mode }))).collect();
        spec.insert("portLevelMtls".into(), Value::Object(ports));
    }
    object(api, "PeerAuthentication", &exception.name)
        .namespace(&exception.namespace)
        .spec(Value::Object(spec))
        .build()
}

fn legacy_destination_rule(config: &Config) -> Value {
    object(config.version.networking_api(), "DestinationRule", DEFAULT)
        .namespace(&config.namespace)
        .spec(json!({ "host": "*.local", "trafficPolicy": { "tls": { "mode": "ISTIO_MUTUAL" } } }))
        .build()
}

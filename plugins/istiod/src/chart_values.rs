//! Values of the chart `istiod`.
//!
//! Everything of istiod itself stands under `pilot`: charts up to 1.23 know nothing else, and in later ones it wins
//! over the form without the prefix.

use meshrun_plugin_common::values::{merge, prune, with_raw};
use meshrun_sdk::prelude::{Value, json};

use crate::Config;

/// Environment variable that the chart renders from `pilot.traceSampling` as well.
const SAMPLING_ENV: &str = "PILOT_TRACE_SAMPLING";

/// What became of a `PILOT_TRACE_SAMPLING` in the environment: server-side apply refuses a variable that is there
/// twice, so it never stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sampling {
    /// Nobody set it.
    Absent,
    /// It says what the chart renders anyway.
    Same,
    /// It became `pilot.traceSampling`.
    Moved,
    /// `trace_sampling` says something else, and counts.
    Overruled,
}

/// Returns the chart's values.
pub(crate) fn chart_values(config: &Config) -> Value {
    build(config).0
}

/// Returns the chart's values and what became of the sampling variable.
pub(crate) fn build(config: &Config) -> (Value, Sampling) {
    let mut values = json!({
        "global": { "istioNamespace": config.namespace, "meshID": config.mesh_id, "network": config.network },
        "revision": config.control_plane().revision,
        "revisionTags": (!config.revision_tags.is_empty()).then_some(&config.revision_tags),
        "pilot": pilot(config),
        "telemetry": { "v2": { "enabled": config.telemetry_v2 } },
        "meshConfig": mesh_config(config),
    });
    if let Some(hub) = &config.hub {
        values["global"]["hub"] = json!(hub);
        // Older published charts name the registry here too, and this place goes first.
        values["pilot"]["hub"] = json!(hub);
    }
    if let Some(budget) = config.pod_disruption_budget {
        values["global"]["defaultPodDisruptionBudget"] = json!({ "enabled": budget });
    }
    prune(&mut values);
    let mut values = with_raw(values, &config.values);
    let sampling = take_sampling_variable(&mut values);
    (values, sampling)
}

fn pilot(config: &Config) -> Value {
    json!({
        "resources": config.resources,
        "env": config.env,
        // Text, because the chart leaves out a number 0 and writes 1.0 as 1.
        "traceSampling": config.trace_sampling.map(percentage),
        "autoscaleEnabled": config.replicas.map(|_| false),
        "replicaCount": config.replicas,
        "autoscaleMin": config.autoscale.min,
        "autoscaleMax": config.autoscale.max,
        "cpu": { "targetAverageUtilization": config.autoscale.target_cpu },
    })
}

fn mesh_config(config: &Config) -> Value {
    let mut mesh = json!({
        "accessLogFile": config.access_log_file,
        "enableAutoMtls": config.auto_mtls,
        "extensionProviders": (!config.extension_providers.is_empty()).then_some(&config.extension_providers),
        "defaultConfig": {
            "gatewayTopology": { "numTrustedProxies": config.num_trusted_proxies },
            "tracing": { "sampling": config.trace_sampling.map(percentage) },
        },
    });
    prune(&mut mesh);
    merge(&mut mesh, &Value::Object(config.mesh_config.clone()));
    mesh
}

fn percentage(sampling: f64) -> String {
    format!("{sampling:?}")
}

fn take_sampling_variable(values: &mut Value) -> Sampling {
    let mut found = None;
    // Charts from 1.24 on take `env` without the prefix as well.
    for path in ["/pilot/env", "/env"] {
        if let Some(Value::Object(env)) = values.pointer_mut(path) {
            found = env.shift_remove(SAMPLING_ENV).map(|value| text(&value)).or(found);
        }
    }
    let Some(wanted) = found else { return Sampling::Absent };
    let said = ["/pilot/traceSampling", "/traceSampling"].into_iter().find_map(|path| values.pointer(path));
    match said.map(text) {
        Some(said) if said.parse::<f64>().ok() == wanted.parse::<f64>().ok() => Sampling::Same,
        Some(_) => Sampling::Overruled,
        None => {
            merge(values, &json!({ "pilot": { "traceSampling": wanted } }));
            Sampling::Moved
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::serde_json::from_value;

    use super::*;

    fn values(mut with: Value) -> (Value, Sampling) {
        with["version"] = json!("1.19.3");
        let (mut values, sampling) = build(&from_value(with).expect("a configuration"));
        values["global"].as_object_mut().expect("global values").shift_remove("istioNamespace");
        prune(&mut values);
        (values, sampling)
    }

    #[test]
    fn nothing_said_is_nothing_set() {
        assert_eq!(values(json!({})), (json!({}), Sampling::Absent));
    }

    #[test]
    fn sampling_is_text_at_both_places() {
        let (values, _) = values(json!({ "trace_sampling": 0 }));
        assert_eq!(
            values,
            json!({
                "pilot": { "traceSampling": "0.0" },
                "meshConfig": { "defaultConfig": { "tracing": { "sampling": "0.0" } } },
            })
        );
    }

    #[test]
    fn sampling_variable_never_stays_in_the_environment() {
        let env = json!({ "PILOT_TRACE_SAMPLING": 1, "PILOT_X": true });
        let pilot = |sampling: &str| json!({ "env": { "PILOT_X": "true" }, "traceSampling": sampling });
        let (moved, sampling) = values(json!({ "env": env }));
        assert_eq!((&moved["pilot"], sampling), (&pilot("1"), Sampling::Moved));
        let (same, sampling) = values(json!({ "env": env, "trace_sampling": 1.0 }));
        assert_eq!((&same["pilot"], sampling), (&pilot("1.0"), Sampling::Same));
        let (overruled, sampling) = values(json!({ "env": env, "trace_sampling": 5.0 }));
        assert_eq!((&overruled["pilot"], sampling), (&pilot("5.0"), Sampling::Overruled));
        let (raw, sampling) =
            values(json!({ "values": { "pilot": { "env": { "PILOT_TRACE_SAMPLING": "2" } } } }));
        assert_eq!((&raw["pilot"], sampling), (&json!({ "traceSampling": "2" }), Sampling::Moved));
    }

    #[test]
    fn raw_mesh_config_and_values_have_the_last_word() {
        let (values, _) = values(json!({
            "access_log_file": "/dev/stdout", "auto_mtls": true,
            "mesh_config": { "accessLogFile": null, "accessLogEncoding": "JSON" },
            "values": { "meshConfig": { "enableAutoMtls": false }, "pilot": { "podLabels": { "a": "b" } } },
        }));
        assert_eq!(
            values,
            json!({
                "meshConfig": { "enableAutoMtls": false, "accessLogEncoding": "JSON" },
                "pilot": { "podLabels": { "a": "b" } },
            })
        );
    }

    #[test]
    fn fixed_replicas_switch_the_autoscaler_off() {
        let (values, _) = values(json!({ "replicas": 3, "pod_disruption_budget": false }));
        assert_eq!(
            values,
            json!({
                "global": { "defaultPodDisruptionBudget": { "enabled": false } },
                "pilot": { "autoscaleEnabled": false, "replicaCount": 3 },
            })
        );
    }
}

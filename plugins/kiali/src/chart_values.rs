//! From the configuration to the values of the chart `kiali-server`, whose names changed with Kiali 2.

use meshrun_plugin_common::values::{prune, set, with_raw};
use meshrun_sdk::prelude::{Value, json};

use crate::{
    config::{Config, TracingProvider},
    signing_key,
};

/// Returns the chart's values, the raw ones on top.
pub(crate) fn values(config: &Config) -> Value {
    let mut values = json!({
        "auth": { "strategy": config.auth_strategy },
        "deployment": { "view_only_mode": config.view_only, "resources": config.resources },
        "external_services": {
            "istio": { "root_namespace": config.istio_namespace() },
            "prometheus": { "url": config.prometheus.url },
            "grafana": grafana(config),
            "tracing": tracing(config),
        },
        "server": { "web_root": config.web_root },
    });
    if !config.version.second_generation() {
        set(&mut values, &["istio_namespace"], config.istio_namespace());
        set(&mut values, &["external_services", "istio", "component_status"], components(config));
    }
    prune(&mut values);
    let key = signing_key::given(config).map_or_else(signing_key::reference, str::to_owned);
    set(&mut values, &["login_token", "signing_key"], key);
    let mut values = with_raw(values, &config.values);
    if signing_key::given(config).is_none() && !config.version.mounts_secret_references() {
        mount_signing_key(&mut values);
    }
    values
}

/// Adds to the mounts that the raw values may ask for: replacing them would lose one or the other.
fn mount_signing_key(values: &mut Value) {
    let mut mounts = values["deployment"]["custom_secrets"].as_array().cloned().unwrap_or_default();
    mounts.push(signing_key::mount());
    set(values, &["deployment", "custom_secrets"], mounts);
}

/// Named in full, because the server's own default names services that nobody installed.
fn grafana(config: &Config) -> Value {
    let Some(grafana) = &config.grafana else { return json!({ "enabled": false }) };
    let (internal, external) = url_names(config);
    json!({ "enabled": true, internal: grafana.url, external: grafana.external_url })
}

fn tracing(config: &Config) -> Value {
    let Some(tracing) = &config.tracing else { return json!({ "enabled": false }) };
    let (internal, external) = url_names(config);
    let mut value = json!({ "enabled": true, internal: tracing.url, external: tracing.external_url });
    if config.version.knows_tempo() {
        value["provider"] = json!(tracing.provider);
    }
    let http_by_default = (tracing.provider == TracingProvider::Tempo).then_some(false);
    value["use_grpc"] = json!(tracing.grpc.or(http_by_default));
    value
}

fn url_names(config: &Config) -> (&'static str, &'static str) {
    if config.version.second_generation() {
        ("internal_url", "external_url")
    } else {
        ("in_cluster_url", "url")
    }
}

/// Kiali 1 looks for the gateways of Istio's old demo profile and reports them missing for ever.
fn components(config: &Config) -> Value {
    let gateway_namespace = config.gateway_namespace.as_deref().unwrap_or_else(|| config.istio_namespace());
    json!({
        "enabled": true,
        "components": [
            { "app_label": "istiod", "is_core": true, "is_proxy": false },
            { "app_label": config.gateway_app, "is_core": true, "is_proxy": true, "namespace": gateway_namespace },
        ],
    })
}

//! What `with:` of a Kiali step may say.

use meshrun_plugin_common::{ChartSource, Resources};
use meshrun_sdk::{
    prelude::{ObjectRef, Value},
    schemars::JsonSchema,
    serde::{Deserialize, Serialize},
    serde_json::Map,
};

use crate::version::KialiVersion;

/// The Kiali dashboard.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Config {
    /// Kiali version, which is its chart's version: `1.74.0` or newer.
    pub version: KialiVersion,
    /// Namespace of Kiali.
    #[serde(default = "istio_system")]
    pub namespace: String,
    /// Name of the Helm release.
    #[serde(default = "kiali_server")]
    pub release: String,
    /// Takes the chart from somewhere else.
    #[serde(default)]
    pub chart: ChartSource,
    /// Namespace of the control plane; Kiali's own where not said.
    #[serde(default)]
    pub istio_namespace: Option<String>,
    /// How people log in.
    #[serde(default)]
    pub auth_strategy: AuthStrategy,
    /// Whether Kiali may only look; `false` lets it change the mesh's configuration.
    #[serde(default = "yes")]
    pub view_only: bool,
    /// Path of the user interface.
    #[serde(default = "web_root")]
    pub web_root: String,
    /// Requests and limits.
    #[serde(default)]
    pub resources: Resources,
    /// Where metrics come from.
    #[serde(default)]
    pub prometheus: Prometheus,
    /// Dashboards to link to; left out, there are none.
    #[serde(default)]
    pub grafana: Option<Grafana>,
    /// Where traces come from; left out, there are none.
    #[serde(default)]
    pub tracing: Option<Tracing>,
    /// Value of the label `app` of the ingress gateway's pods; Kiali 2 finds it by itself.
    #[serde(default = "istio_gateway")]
    pub gateway_app: String,
    /// Namespace of the ingress gateway; the control plane's where not said.
    #[serde(default)]
    pub gateway_namespace: Option<String>,
    /// Raw chart values over those made of the fields above; `null` takes one out.
    #[serde(default)]
    pub values: Map<String, Value>,
}

/// How people log in to Kiali.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "meshrun_sdk::schemars")]
pub enum AuthStrategy {
    /// With the token of a service account, and with its rights.
    #[default]
    Token,
    /// Not at all: everybody who reaches Kiali sees the mesh.
    Anonymous,
    /// With an OpenID provider, set up under `values.auth.openid`.
    Openid,
    /// With a header that a proxy in front of Kiali sets.
    Header,
    /// With an OpenShift account.
    Openshift,
}

/// Where Kiali reads metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Prometheus {
    /// URL inside the cluster; Kiali's default is `http://prometheus.istio-system:9090`.
    pub url: Option<String>,
}

/// Grafana, for links to dashboards.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Grafana {
    /// URL inside the cluster.
    pub url: String,
    /// URL for people's browsers.
    #[serde(default)]
    pub external_url: Option<String>,
}

/// Where Kiali reads traces.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Tracing {
    /// What answers at the URL.
    #[serde(default)]
    pub provider: TracingProvider,
    /// URL inside the cluster.
    pub url: String,
    /// URL for people's browsers.
    #[serde(default)]
    pub external_url: Option<String>,
    /// Whether to speak gRPC; HTTP with Tempo and gRPC with Jaeger where not said.
    #[serde(default)]
    pub grpc: Option<bool>,
}

/// What kind of store traces are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "meshrun_sdk::schemars")]
pub enum TracingProvider {
    /// Jaeger's query service.
    #[default]
    Jaeger,
    /// Grafana Tempo; Kiali 1.75 or newer.
    Tempo,
}

impl Config {
    /// Namespace of the control plane.
    pub(crate) fn istio_namespace(&self) -> &str {
        self.istio_namespace.as_deref().unwrap_or(&self.namespace)
    }

    /// The path of the user interface without a slash at its end.
    pub(crate) fn web_root(&self) -> &str {
        self.web_root.trim_end_matches('/')
    }

    /// What the chart calls its objects: not the release's name, but `kiali` or what the values say.
    pub(crate) fn instance(&self) -> &str {
        let named = self.values.get("deployment").and_then(|deployment| deployment["instance_name"].as_str());
        named.unwrap_or("kiali")
    }

    /// The Deployment.
    pub(crate) fn deployment(&self) -> ObjectRef {
        ObjectRef::namespaced("apps/v1", "Deployment", &self.namespace, self.instance())
    }

    /// The port that serves the user interface.
    pub(crate) fn port(&self) -> u16 {
        let set = self.values.get("server").and_then(|server| server["port"].as_u64());
        set.and_then(|port| u16::try_from(port).ok()).unwrap_or(20001)
    }
}

fn istio_system() -> String {
    "istio-system".to_owned()
}

fn kiali_server() -> String {
    "kiali-server".to_owned()
}

fn istio_gateway() -> String {
    "istio-gateway".to_owned()
}

fn web_root() -> String {
    "/kiali".to_owned()
}

fn yes() -> bool {
    true
}

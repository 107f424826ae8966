//! What `with:` of a telemetry step may say.

use std::collections::BTreeMap;

use meshrun_plugin_common::{ControlPlane, IstioVersion, StringMap, Text, string_map};
use meshrun_sdk::{
    prelude::Value,
    schemars::JsonSchema,
    serde::{Deserialize, Serialize},
    serde_json::Map,
};

/// Metrics, traces and access logs of the mesh, and the monitors that let Prometheus scrape it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Config {
    /// Istio version of the control plane: decides which API version the objects have.
    pub version: IstioVersion,
    /// The mesh's root namespace, where the Telemetry for the whole mesh lives.
    #[serde(default = "istio_system")]
    pub namespace: String,
    /// Revision of the control plane whose mesh configuration names the providers.
    #[serde(default)]
    pub revision: Option<String>,
    /// Names of the providers that the mesh configuration defines (output `extension_providers` of the istiod step);
    /// left out, the cluster is asked.
    #[serde(default)]
    pub extension_providers: Option<Vec<String>>,
    /// Who gets metrics.
    #[serde(default)]
    pub metrics: Metrics,
    /// Who gets traces; left out, the mesh configuration decides.
    #[serde(default)]
    pub tracing: Option<Tracing>,
    /// Who gets access logs; left out, the mesh configuration decides.
    #[serde(default)]
    pub access_logging: Option<AccessLogging>,
    /// Raw fields merged over the Telemetry's spec.
    #[serde(default)]
    pub spec: Map<String, Value>,
    /// What Prometheus scrapes.
    #[serde(default)]
    pub monitors: Monitors,
    /// Further objects, applied last and as they are.
    #[serde(default)]
    pub objects: Vec<Value>,
}

impl Config {
    /// The control plane whose mesh configuration counts.
    pub(crate) fn control_plane(&self) -> ControlPlane {
        ControlPlane::new(&self.namespace, self.revision.as_deref())
    }
}

/// Metrics of the proxies.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Metrics {
    /// Provider names.
    #[serde(default = "prometheus")]
    pub providers: Vec<String>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { providers: prometheus() }
    }
}

/// Traces of the proxies.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Tracing {
    /// Provider names; Istio uses the first.
    pub providers: Vec<String>,
    /// Share of requests that are traced, in percent (0 to 100); Istio's default is 1.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub sampling: Option<f64>,
    /// Tags on every span, by name.
    #[serde(default)]
    pub custom_tags: BTreeMap<String, CustomTag>,
}

/// Where a tag's value comes from.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", rename_all = "snake_case")]
#[schemars(crate = "meshrun_sdk::schemars")]
pub enum CustomTag {
    /// This text.
    Literal(Text),
    /// A request header of this name.
    Header(String),
    /// An environment variable of the proxy.
    Environment(String),
}

/// Access logs of the proxies.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct AccessLogging {
    /// Provider names; `envoy` writes to the proxy's standard output.
    pub providers: Vec<String>,
}

/// A ServiceMonitor for istiod and a PodMonitor for the gateway.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Monitors {
    /// `true` insists on them, `false` leaves them out; left out, they are created where the cluster serves their API.
    pub enabled: Option<bool>,
    /// Labels on both, so that Prometheus selects them: `release: prometheus`.
    pub labels: StringMap,
    /// The gateway to scrape; `null` for none.
    pub gateway: Option<Gateway>,
}

impl Default for Monitors {
    fn default() -> Self {
        Self { enabled: None, labels: StringMap::new(), gateway: Some(Gateway::default()) }
    }
}

/// The gateway to scrape.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Gateway {
    /// Name of the monitor.
    pub name: String,
    /// Namespace of the gateway's pods; the root namespace where not said.
    pub namespace: Option<String>,
    /// Labels of the gateway's pods.
    pub match_labels: StringMap,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            name: "istio-gateway".to_owned(),
            namespace: None,
            match_labels: string_map([("istio", "gateway")]),
        }
    }
}

fn istio_system() -> String {
    "istio-system".to_owned()
}

fn prometheus() -> Vec<String> {
    vec!["prometheus".to_owned()]
}

//! What `with:` of an `istiod` step may say.

use meshrun_plugin_common::{ChartSource, ControlPlane, IstioVersion, Resources, StringMap};
use meshrun_sdk::{
    prelude::{Deserialize, JsonSchema, Value},
    serde_json::Map,
};

/// Extension providers that istiod knows without being told.
const BUILTIN_PROVIDERS: [&str; 3] = ["prometheus", "stackdriver", "envoy"];

/// Configuration of the step `istiod`. What is not said is the chart's choice.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Config {
    /// Istio version.
    pub version: IstioVersion,
    /// Namespace of the control plane, Istio's root namespace.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Name of the Helm release; `istiod`, or `istiod-<revision>`, where it is not said.
    #[serde(default)]
    pub release: Option<String>,
    /// Where the chart comes from, if not from Istio's repository.
    #[serde(default)]
    pub chart: ChartSource,
    /// Revision of a control plane that runs beside others (canary upgrade).
    #[serde(default)]
    pub revision: Option<String>,
    /// Tags: stable names that namespaces may use in place of the revision.
    #[serde(default)]
    pub revision_tags: Vec<String>,
    /// Image registry and path, for mirrors; the chart knows the right one.
    #[serde(default)]
    pub hub: Option<String>,
    /// Id of the mesh.
    #[serde(default)]
    pub mesh_id: Option<String>,
    /// Network of the cluster. Set it on the `istio-base` step too: istiod reads its own from the namespace's label.
    #[serde(default)]
    pub network: Option<String>,
    /// Requests and limits of istiod.
    #[serde(default)]
    pub resources: Resources,
    /// Bounds of the HorizontalPodAutoscaler.
    #[serde(default)]
    pub autoscale: Autoscale,
    /// A fixed number of replicas in place of the autoscaler.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub replicas: Option<u32>,
    /// Whether a PodDisruptionBudget keeps one istiod; with a single replica it blocks the drain of its node.
    #[serde(default)]
    pub pod_disruption_budget: Option<bool>,
    /// Environment of istiod (`PILOT_...`).
    #[serde(default)]
    pub env: StringMap,
    /// Percentage of requests that are traced, 0 to 100.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub trace_sampling: Option<f64>,
    /// File that proxies log requests to: `/dev/stdout`.
    #[serde(default)]
    pub access_log_file: Option<String>,
    /// Proxies in front of the gateways that append to `X-Forwarded-For`: 0 behind a network load balancer.
    #[serde(default)]
    pub num_trusted_proxies: Option<u32>,
    /// Whether proxies report Istio's standard metrics.
    #[serde(default)]
    pub telemetry_v2: Option<bool>,
    /// Whether proxies use mutual TLS with every workload that has a proxy; Istio says yes.
    #[serde(default)]
    pub auto_mtls: Option<bool>,
    /// Providers of tracing, access logs, metrics and authorization, as MeshConfig has them:
    /// `{ name: tempo, opentelemetry: { service: tempo.observability.svc.cluster.local, port: 4317 } }`.
    #[serde(default)]
    pub extension_providers: Vec<Map<String, Value>>,
    /// Raw MeshConfig, merged over the fields above.
    #[serde(default)]
    pub mesh_config: Map<String, Value>,
    /// Raw chart values, merged over all others; `null` takes a value out.
    #[serde(default)]
    pub values: Map<String, Value>,
}

/// Bounds of a HorizontalPodAutoscaler.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Autoscale {
    /// Replicas at least; the chart says 1.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub min: Option<u32>,
    /// Replicas at most; the chart says 5.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max: Option<u32>,
    /// CPU use, in percent of the request, above which replicas are added; the chart says 80.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub target_cpu: Option<u32>,
}

impl Config {
    /// The control plane that the step installs.
    pub fn control_plane(&self) -> ControlPlane {
        ControlPlane::new(&self.namespace, self.revision.as_deref())
    }

    /// Name of the Helm release.
    pub fn release_name(&self) -> String {
        self.release.clone().unwrap_or_else(|| self.control_plane().istiod())
    }

    /// Provider names that resolve in this mesh: Istio's own and the configured ones.
    pub fn provider_names(&self) -> Vec<String> {
        let of = |list: Option<&Value>| -> Vec<String> {
            let entries = list.and_then(Value::as_array).into_iter().flatten();
            entries.filter_map(|entry| entry["name"].as_str()).map(str::to_owned).collect()
        };
        let mut names: Vec<String> = BUILTIN_PROVIDERS.map(str::to_owned).into();
        names.extend(
            self.extension_providers
                .iter()
                .filter_map(|entry| entry.get("name")?.as_str())
                .map(str::to_owned),
        );
        names.extend(of(self.mesh_config.get("extensionProviders")));
        names.extend(of(self.values.get("meshConfig").map(|mesh| &mesh["extensionProviders"])));
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }
}

fn default_namespace() -> String {
    "istio-system".into()
}

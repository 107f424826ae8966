//! What `with:` of an `istio-base` step may say.

use meshrun_plugin_common::{ChartSource, IstioVersion, StringMap};
use meshrun_sdk::{
    prelude::{Deserialize, Diagnostic, JsonSchema, Value},
    serde_json::Map,
};

/// Configuration of the step `istio-base`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Config {
    /// Istio version.
    pub version: IstioVersion,
    /// Namespace of the control plane, Istio's root namespace.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Whether to create the namespace; with `false` it must be there.
    #[serde(default = "yes")]
    pub create_namespace: bool,
    /// Labels of the namespace; labels of others stay as they are.
    #[serde(default)]
    pub namespace_labels: StringMap,
    /// Network of the cluster in a mesh of several networks. It becomes the namespace's label
    /// `topology.istio.io/network`, which is where istiod looks for its own network.
    #[serde(default)]
    pub network: Option<String>,
    /// Name of the Helm release.
    #[serde(default = "default_release")]
    pub release: String,
    /// Where the chart comes from, if not from Istio's repository.
    #[serde(default)]
    pub chart: ChartSource,
    /// Revision of the istiod that validates objects without a revision of their own; the chart says `default`.
    #[serde(default)]
    pub default_revision: Option<String>,
    /// Raw chart values, merged over all others; `null` takes a value out.
    #[serde(default)]
    pub values: Map<String, Value>,
}

impl Config {
    /// Says what can be said without a cluster.
    pub fn lint(&self) -> Vec<Diagnostic> {
        let unlabelled =
            !self.create_namespace && (self.network.is_some() || !self.namespace_labels.is_empty());
        let labels = unlabelled.then(|| {
            let path = if self.network.is_some() { "/network" } else { "/namespace_labels" };
            Diagnostic::warning(path, "the namespace gets no labels, because `create_namespace` is false")
                .with_code("istio/namespace-labels")
                .with_hint(format!("label namespace {} where it is created", self.namespace))
        });
        self.version.support("/version").into_iter().chain(labels).collect()
    }
}

fn default_namespace() -> String {
    "istio-system".into()
}

fn default_release() -> String {
    "istio-base".into()
}

fn yes() -> bool {
    true
}

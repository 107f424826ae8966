//! Where charts come from.

use meshrun_sdk::{prelude::Chart, schemars::JsonSchema, serde::Deserialize};

/// Istio's own chart repository: `base`, `istiod`, `gateway`, `cni`, `ztunnel`.
pub const ISTIO_CHARTS: &str = "https://istio-release.storage.googleapis.com/charts";

/// Kiali's own chart repository: `kiali-server`, `kiali-operator`.
pub const KIALI_CHARTS: &str = "https://kiali.org/helm-charts";

/// Takes the chart from somewhere else than its project's repository; a mirror directory given to meshrun needs no
/// word here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct ChartSource {
    /// Repository URL, `https://...` or `oci://...`.
    #[serde(default)]
    pub repository: Option<String>,
    /// A local chart directory or archive; goes before everything else.
    #[serde(default)]
    pub path: Option<String>,
}

impl ChartSource {
    /// The chart `name` at `version`, from here or else from its project's repository.
    pub fn chart(&self, name: &str, version: &str, project: &str) -> Chart {
        Chart {
            name: name.to_owned(),
            version: version.to_owned(),
            repository: Some(self.repository.clone().unwrap_or_else(|| project.to_owned())),
            path: self.path.clone(),
        }
    }
}

//! What `with:` of a verify step may say.

use meshrun_mesh_facts::mtls::Mode;
use meshrun_plugin_common::{ControlPlane, IstioVersion};
use meshrun_sdk::{schemars::JsonSchema, serde::Deserialize};

/// What the mesh should look like.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Config {
    /// Istio version that was ordered.
    pub version: IstioVersion,
    /// Namespace of the control plane.
    #[serde(default = "istio_system")]
    pub namespace: String,
    /// Revision of the control plane.
    #[serde(default)]
    pub revision: Option<String>,
    /// The ingress gateway; left out, there is none to look at.
    #[serde(default)]
    pub gateway: Option<Gateway>,
    /// Mutual TLS mode that the mesh should have; left out, any is right.
    #[serde(default)]
    pub mtls: Option<Mode>,
    /// Kiali; left out, there is none to look at.
    #[serde(default)]
    pub kiali: Option<Kiali>,
}

/// The ingress gateway.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Gateway {
    /// Name of its Deployment and Service.
    pub name: String,
    /// Its namespace; the control plane's where not said.
    pub namespace: Option<String>,
    /// Status codes that `GET http://<address>/` may answer: 301 where HTTP is redirected, 404 where no route
    /// matches, 200 where one does.
    pub status: Vec<u16>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self { name: "istio-gateway".to_owned(), namespace: None, status: vec![200, 301, 404] }
    }
}

/// Kiali.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Kiali {
    /// Name of its Deployment.
    pub name: String,
    /// Its namespace; the control plane's where not said.
    pub namespace: Option<String>,
}

impl Default for Kiali {
    fn default() -> Self {
        Self { name: "kiali".to_owned(), namespace: None }
    }
}

impl Config {
    /// The control plane to look at.
    pub(crate) fn control_plane(&self) -> ControlPlane {
        ControlPlane::new(&self.namespace, self.revision.as_deref())
    }

    /// The namespace of something that lives beside the control plane unless it says otherwise.
    pub(crate) fn or_own<'a>(&'a self, namespace: Option<&'a str>) -> &'a str {
        namespace.unwrap_or(&self.namespace)
    }
}

fn istio_system() -> String {
    "istio-system".to_owned()
}

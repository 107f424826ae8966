//! What `with:` of a security step may say.

use std::collections::BTreeMap;

use meshrun_mesh_facts::mtls::Mode;
use meshrun_plugin_common::{IstioVersion, StringMap};
use meshrun_sdk::{prelude::Value, schemars::JsonSchema, serde::Deserialize};

/// Mutual TLS and authorization of the mesh.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Config {
    /// Istio version of the control plane: decides which API version the objects have.
    pub version: IstioVersion,
    /// The mesh's root namespace, where policies for the whole mesh live.
    #[serde(default = "istio_system")]
    pub namespace: String,
    /// Who must speak mutual TLS.
    #[serde(default)]
    pub mtls: Mtls,
    /// Who may talk to whom.
    #[serde(default)]
    pub authorization: Authorization,
    /// Further objects, applied last and as they are.
    #[serde(default)]
    pub objects: Vec<Value>,
}

/// Mutual TLS between workloads.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Mtls {
    /// Mode of the mesh: `PERMISSIVE` while workloads move in, `STRICT` afterwards.
    pub mode: Mode,
    /// Refuses to turn a namespace `STRICT` while pods there have no sidecar; `false` insists.
    pub gate: bool,
    /// Modes of single namespaces, by name; they go before the mode of the mesh.
    pub namespaces: BTreeMap<String, Mode>,
    /// Workloads, or single ports of them, that differ from their namespace.
    pub exceptions: Vec<Exception>,
    /// Also creates the DestinationRule for `*.local` of old guides. It turns automatic mutual TLS off and breaks
    /// every target without a sidecar.
    pub legacy_destination_rule: bool,
}

impl Default for Mtls {
    fn default() -> Self {
        Self {
            mode: Mode::Permissive,
            gate: true,
            namespaces: BTreeMap::new(),
            exceptions: Vec::new(),
            legacy_destination_rule: false,
        }
    }
}

/// Workloads that differ from their namespace.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Exception {
    /// Name of the PeerAuthentication.
    pub name: String,
    /// Namespace of the workloads; not the root namespace, where Istio ignores selectors.
    pub namespace: String,
    /// Labels of the workloads.
    pub match_labels: StringMap,
    /// Their mode; their namespace's where not said.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Modes of single container ports.
    #[serde(default)]
    pub ports: BTreeMap<u16, Mode>,
}

/// Authorization policies.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "meshrun_sdk::schemars")]
pub struct Authorization {
    /// AuthorizationPolicies and RequestAuthentications as Istio documents them. Policies that deny everything are
    /// applied after all others.
    pub objects: Vec<Value>,
    /// Namespaces in which nothing is allowed but what an ALLOW policy allows.
    pub deny_by_default: Vec<String>,
}

fn istio_system() -> String {
    "istio-system".to_owned()
}

//! Which mutual TLS mode holds where, from the PeerAuthentications of a cluster.
//!
//! Source of the rules: `pilot/pkg/model/authentication.go` of Istio 1.19.3: a policy without selector speaks for its
//! namespace, one in the root namespace for the mesh; of several, the oldest wins and the others are ignored.

use std::fmt;

use meshrun_plugin_common::name_of;
use meshrun_sdk::schemars::JsonSchema;
use meshrun_sdk::serde::{Deserialize, Serialize};
use meshrun_sdk::serde_json::Value;

use crate::namespace_of;

/// What a workload's proxy accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "meshrun_sdk::serde", rename_all = "UPPERCASE")]
#[schemars(crate = "meshrun_sdk::schemars")]
pub enum Mode {
    /// Mutual TLS and plaintext: what Istio does where nothing is said.
    #[default]
    Permissive,
    /// Mutual TLS only.
    Strict,
    /// Plaintext only.
    Disable,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permissive => "PERMISSIVE",
            Self::Strict => "STRICT",
            Self::Disable => "DISABLE",
        })
    }
}

/// The PeerAuthentications of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Policies<'a> {
    root: &'a str,
    objects: &'a [Value],
}

impl<'a> Policies<'a> {
    /// Takes the policies of all namespaces; `root` is the mesh's root namespace.
    pub fn new(root: &'a str, objects: &'a [Value]) -> Self {
        Self { root, objects }
    }

    /// Returns the policies that claim to speak for the whole namespace, the one that wins first.
    pub fn claims(&self, of: &str) -> Vec<&'a Value> {
        let mut found: Vec<&Value> = self
            .objects
            .iter()
            .filter(|policy| namespace_of(policy) == of && without_selector(policy))
            .collect();
        // RFC 3339 in UTC sorts as text; an object that is not created yet is the youngest.
        found.sort_by_key(|policy| {
            let created = policy["metadata"]["creationTimestamp"].as_str();
            (created.is_none(), created.unwrap_or_default(), name_of(policy))
        });
        found
    }

    /// Returns the policies that claim to speak for the mesh, the one that wins first.
    pub fn mesh_claims(&self) -> Vec<&'a Value> {
        self.claims(self.root)
    }

    /// Returns the mode of the mesh.
    pub fn mesh_mode(&self) -> Mode {
        self.stated(self.root).unwrap_or_default()
    }

    /// Returns the mode of a namespace: its own, else the mesh's.
    pub fn mode_in(&self, of: &str) -> Mode {
        self.stated(of).unwrap_or_else(|| self.mesh_mode())
    }

    /// Returns the mode a namespace states for itself.
    pub fn stated(&self, of: &str) -> Option<Mode> {
        self.claims(of).first().and_then(|policy| mode(policy))
    }
}

fn without_selector(policy: &Value) -> bool {
    policy["spec"]["selector"]["matchLabels"].as_object().is_none_or(|labels| labels.is_empty())
}

fn mode(policy: &Value) -> Option<Mode> {
    match policy["spec"]["mtls"]["mode"].as_str()? {
        "STRICT" => Some(Mode::Strict),
        "PERMISSIVE" => Some(Mode::Permissive),
        "DISABLE" => Some(Mode::Disable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::serde_json::json;

    use super::*;

    fn policy(namespace: &str, name: &str, mode: &str, created: &str) -> Value {
        json!({
            "metadata": { "namespace": namespace, "name": name, "creationTimestamp": created },
            "spec": { "mtls": { "mode": mode } },
        })
    }

    #[test]
    fn the_oldest_policy_of_the_root_namespace_wins() {
        let objects = [
            policy("istio-system", "default", "STRICT", "2026-02-01T00:00:00Z"),
            policy("istio-system", "legacy", "PERMISSIVE", "2025-01-01T00:00:00Z"),
        ];
        let policies = Policies::new("istio-system", &objects);
        assert_eq!(policies.mesh_mode(), Mode::Permissive);
        assert_eq!(name_of(policies.mesh_claims()[0]), "legacy");
    }

    #[test]
    fn a_namespace_goes_before_the_mesh_and_a_selector_speaks_for_nobody_else() {
        let mut selective = policy("bank", "one", "STRICT", "2026-02-01T00:00:00Z");
        selective["spec"]["selector"] = json!({ "matchLabels": { "app": "one" } });
        let objects = [
            policy("istio-system", "default", "STRICT", "2026-02-01T00:00:00Z"),
            policy("shop", "default", "PERMISSIVE", "2026-02-01T00:00:00Z"),
            policy("unset", "default", "UNSET", "2026-02-01T00:00:00Z"),
            selective,
        ];
        let policies = Policies::new("istio-system", &objects);
        assert_eq!(policies.mode_in("shop"), Mode::Permissive);
        assert_eq!(policies.mode_in("unset"), Mode::Strict);
        assert_eq!(policies.stated("bank"), None);
    }

    #[test]
    fn a_mesh_without_policies_is_permissive() {
        assert_eq!(Policies::new("istio-system", &[]).mesh_mode(), Mode::Permissive);
    }
}

//! Request and answer of the optional plugin method `upgrade/v1`: the way from one version to another.

use serde::{Deserialize, Serialize};

use crate::Diagnostic;

/// Asks how to get from one version to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeRequest {
    /// Version that is installed: `1.28.10`.
    pub from: String,
    /// Version that is wanted: `1.30.3`.
    pub to: String,
    /// Version of the cluster, where it is known: `v1.34.1`.
    #[serde(default)]
    pub kubernetes_version: Option<String>,
}

/// The way from one version to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct UpgradeResponse {
    /// Versions to install one after another, the wanted one last; none where there is no way or nothing to do.
    #[serde(default)]
    pub hops: Vec<Hop>,
    /// What to do at each hop, in order; `{version}` stands for the version of the hop.
    #[serde(default)]
    pub routine: Vec<String>,
    /// Findings about the way; an error says that there is none. Paths are those of the request: `/from`, `/to`,
    /// `/kubernetes_version`.
    #[serde(default)]
    pub diagnostics: Vec<Diagnostic>,
}

/// One version on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// The version to install: `1.29.6`.
    pub version: String,
    /// Kubernetes versions that it is meant for: `1.31 to 1.35`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<String>,
    /// What to do before it, and what behaves differently after it; one sentence each, a lower-case fragment.
    #[serde(default)]
    pub notes: Vec<String>,
}

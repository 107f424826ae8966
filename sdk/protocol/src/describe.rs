//! What a plugin says of itself, before anything is asked of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A plugin's self-description: the answer of the ABI's `describe`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Vocabulary the plugin was built with, [`crate::PROTOCOL_VERSION`].
    pub protocol: String,
    /// Version of `meshrun-sdk` the plugin was built with.
    #[serde(default)]
    pub sdk: String,
    /// Name of the plugin: what `uses:` says.
    pub name: String,
    /// The plugin's own semantic version.
    pub version: String,
    /// One sentence, third person.
    #[serde(default)]
    pub summary: String,
    /// Methods it answers, such as `plan/v1`.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Host services it cannot do without, such as `cluster.get/v1`.
    #[serde(default)]
    pub services: Vec<String>,
    /// Capabilities it brings, such as `mesh.control-plane`.
    #[serde(default)]
    pub provides: Vec<String>,
    /// Capabilities that another step of the pipeline must bring.
    #[serde(default)]
    pub requires: Vec<String>,
    /// JSON Schema of `with:`.
    pub config_schema: Value,
    /// What `${{ steps.ID.outputs.NAME }}` may say.
    #[serde(default)]
    pub outputs: Vec<OutputSpec>,
    /// `unwind` or `abort`: with `abort`, a panic ends the process, so the host insists on a child process.
    #[serde(default)]
    pub panic: String,
}

/// One output of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputSpec {
    /// Name in expressions.
    pub name: String,
    /// One sentence about it.
    #[serde(default)]
    pub description: String,
}

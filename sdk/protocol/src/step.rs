//! Requests and answers of the plugin methods `lint/v1`, `plan/v1`, `check/v1`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Action, Check, Diagnostic, ListQuery, ObjectRef};

/// What a plugin may know about the cluster without asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct ClusterInfo {
    /// `v1.36.1`.
    pub kubernetes_version: String,
    /// `true` in a rehearsal: nothing runs, nothing answers, readiness is assumed.
    #[serde(default)]
    pub rehearsal: bool,
}

/// Asks whether a configuration is sensible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LintRequest {
    /// The step's id in the pipeline.
    pub step: String,
    /// The step's `with:`; a string that is still an expression stands for a value known later.
    pub config: Value,
}

/// What there is to say about a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct LintResponse {
    /// The findings.
    #[serde(default)]
    pub diagnostics: Vec<Diagnostic>,
}

/// Asks what should be there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanRequest {
    /// The step's id in the pipeline.
    pub step: String,
    /// The step's `with:`, expressions evaluated.
    pub config: Value,
    /// The cluster.
    pub cluster: ClusterInfo,
    /// Steps of this run that come before this one because it needs them. While the whole run is planned they are
    /// still to come, and the cluster does not show their work yet.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Whether the user insists on a jump between versions (`--allow-skip`): what a step would refuse for that reason
    /// alone is then a warning.
    #[serde(default)]
    pub allow_skip: bool,
}

/// A step that comes before the one that is planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Need {
    /// Its id in the pipeline.
    pub step: String,
    /// Capabilities that its plugin brings: `mesh.control-plane`.
    #[serde(default)]
    pub provides: Vec<String>,
    /// Its outputs as far as they are known.
    #[serde(default)]
    pub outputs: Map<String, Value>,
}

/// What should be there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct PlanResponse {
    /// Effects, in order.
    #[serde(default)]
    pub actions: Vec<Action>,
    /// The step's outputs by name.
    #[serde(default)]
    pub outputs: BTreeMap<String, Output>,
    /// Findings that needed a look at the cluster.
    #[serde(default)]
    pub diagnostics: Vec<Diagnostic>,
}

/// One output of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Output {
    /// Known while planning.
    Value {
        /// The value.
        value: Value,
    },
    /// Read from the cluster once the step's actions are done.
    FromObject {
        /// The object.
        object: ObjectRef,
        /// JSON pointers into the object; the first that is there counts: `/status/loadBalancer/ingress/0/ip`.
        pointers: Vec<String>,
    },
}

/// Asks whether the step is healthy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckRequest {
    /// The step's id in the pipeline.
    pub step: String,
    /// The step's `with:`, expressions evaluated.
    pub config: Value,
    /// The cluster.
    pub cluster: ClusterInfo,
}

/// Whether the step is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct CheckResponse {
    /// The checks, most basic first.
    #[serde(default)]
    pub checks: Vec<Check>,
}

/// Asks what has to happen when a step is taken away. Objects and releases that the step made are the host's business.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TeardownRequest {
    /// The step's id in the pipeline.
    pub step: String,
    /// The step's `with:`, expressions evaluated as far as they can be.
    pub config: Value,
    /// The cluster.
    pub cluster: ClusterInfo,
}

/// What has to happen when a step is taken away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct TeardownResponse {
    /// Effects while the step is still alive, such as dropping sidecars.
    #[serde(default)]
    pub before: Vec<Action>,
    /// Objects that people made with the step's APIs: backed up before, gone with the CRDs.
    #[serde(default)]
    pub custom: Vec<ListQuery>,
    /// Objects that the step's software makes by itself and leaves behind.
    #[serde(default)]
    pub leftovers: Vec<Leftover>,
    /// Findings that needed a look at the cluster.
    #[serde(default)]
    pub diagnostics: Vec<Diagnostic>,
}

/// Something that software leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// The objects.
    pub objects: Vec<ObjectRef>,
    /// Who made them: `istiod`.
    pub owner: String,
    /// Whether they are deleted with the step; otherwise those that are still there at the end are reported.
    pub delete: bool,
    /// What to do about those that are reported; without it, the command that deletes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Why a method or a service failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// `config`, `panicked`, `unknown-method`, `service`, `plugin`.
    pub code: String,
    /// Lower-case fragment without a period.
    pub message: String,
    /// JSON pointer into `with:`, where the configuration is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether trying again later may help.
    #[serde(default)]
    pub retryable: bool,
}

/// A log line that a plugin emits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEvent {
    /// `trace`, `debug`, `info`, `warn`, `error`.
    pub level: String,
    /// The line.
    pub message: String,
}

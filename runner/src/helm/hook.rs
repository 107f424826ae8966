//! Hooks of a chart: objects that run before or after the others, and what their annotations say.

use serde::{Deserialize, Serialize};

use crate::cluster::Object;

/// Marks a hook: `pre-install,pre-upgrade`.
const EVENTS: &str = "helm.sh/hook";
const WEIGHT: &str = "helm.sh/hook-weight";
const DELETE_POLICY: &str = "helm.sh/hook-delete-policy";
const OUTPUT_LOG_POLICY: &str = "helm.sh/hook-output-log-policy";

/// An object of a chart that runs at an event instead of being part of the release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    /// The object.
    pub object: Object,
    /// Template that rendered it: `istiod/templates/job.yaml`.
    pub path: String,
    /// Its YAML as rendered, for the record of the release.
    pub manifest: String,
    /// When it runs.
    pub events: Vec<HookEvent>,
    /// Hooks of an event run in the order of their weights, then of their names.
    pub weight: i64,
    /// When it is deleted; `BeforeHookCreation` where the chart does not say.
    pub delete_policies: Vec<DeletePolicy>,
    /// `helm.sh/hook-output-log-policy`, for the record only.
    pub output_log_policies: Vec<String>,
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookEvent {
    /// Before the objects of a new release.
    PreInstall,
    /// After the objects of a new release.
    PostInstall,
    /// Before a release is removed.
    PreDelete,
    /// After a release is removed.
    PostDelete,
    /// Before the objects of an existing release.
    PreUpgrade,
    /// After the objects of an existing release.
    PostUpgrade,
    /// Before `helm rollback`.
    PreRollback,
    /// After `helm rollback`.
    PostRollback,
    /// By `helm test`.
    Test,
}

/// When a hook's object is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeletePolicy {
    /// Once it succeeded.
    HookSucceeded,
    /// Once it failed.
    HookFailed,
    /// Before it is created anew.
    BeforeHookCreation,
}

impl Hook {
    /// Whether an object is meant as a hook.
    pub(crate) fn is_hook(object: &Object) -> bool {
        object.annotation(EVENTS).is_some()
    }

    /// Reads a hook's annotations. `None` where one of its events is unknown: helm leaves such an object out.
    pub(crate) fn new(object: Object, path: String, manifest: String) -> Option<Self> {
        let list = |annotation| {
            object
                .annotation(annotation)
                .into_iter()
                .flat_map(|names| names.split(','))
                .map(|name| name.trim().to_lowercase())
                .filter(|name| !name.is_empty())
                .collect::<Vec<_>>()
        };
        let events = list(EVENTS).iter().map(|name| HookEvent::parse(name)).collect::<Option<Vec<_>>>()?;
        let mut delete_policies: Vec<_> =
            list(DELETE_POLICY).iter().filter_map(|name| DeletePolicy::parse(name)).collect();
        if delete_policies.is_empty() {
            delete_policies.push(DeletePolicy::BeforeHookCreation);
        }
        Some(Self {
            weight: object.annotation(WEIGHT).and_then(|weight| weight.trim().parse().ok()).unwrap_or(0),
            output_log_policies: list(OUTPUT_LOG_POLICY),
            delete_policies,
            events,
            object,
            path,
            manifest,
        })
    }
}

impl HookEvent {
    fn parse(name: &str) -> Option<Self> {
        // helm 2's name of `test`, which helm still takes.
        let name = if name == "test-success" { "test" } else { name };
        serde_json::from_value(name.into()).ok()
    }
}

impl DeletePolicy {
    fn parse(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }
}

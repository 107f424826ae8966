//! Helm's record of a release: read from and written to the Secrets that `helm list`, `history` and `rollback` use.
//!
//! Fields and formats as helm 3 and 4 have them (helm/helm: `pkg/release`, `pkg/chart`, `pkg/storage/driver`).

mod codec;
mod owner;

use std::collections::BTreeMap;

use jiff::Timestamp;
use meshrun_protocol::ObjectRef;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{HelmError, Hook, Rendered, manifest};
use crate::cluster::Object;

pub use codec::Stored;
pub use owner::{adopt, is_kept, owner};

/// One revision of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// Release name.
    pub name: String,
    /// Namespace of the release and of its record.
    #[serde(default)]
    pub namespace: String,
    /// Revision, counted from 1.
    pub version: u32,
    /// When and how it came to be.
    #[serde(default)]
    pub info: Info,
    /// The chart: `metadata`, `templates`, `values`, `schema`, `files`.
    #[serde(default)]
    pub chart: Value,
    /// The values given by the user; null where there are none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub config: Value,
    /// The objects as rendered, in YAML.
    #[serde(default)]
    pub manifest: String,
    /// The hooks; an array or null.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub hooks: Value,
    /// How the objects are applied: `ssa` for server-side apply. helm 4 goes on in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply_method: Option<String>,
    /// Labels that people put on the record with `helm upgrade --labels`.
    #[serde(skip)]
    pub labels: BTreeMap<String, String>,
    /// Fields of other helm versions, kept as they are.
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// When and how a revision came to be.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Info {
    /// When the first revision was made (RFC 3339).
    #[serde(default)]
    pub first_deployed: String,
    /// When this revision was made (RFC 3339).
    #[serde(default)]
    pub last_deployed: String,
    /// When the release was uninstalled; empty where it was not.
    #[serde(default)]
    pub deleted: String,
    /// What happened: `Upgrade complete`.
    #[serde(default)]
    pub description: String,
    /// Where the revision stands.
    #[serde(default)]
    pub status: Status,
    /// The chart's notes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Fields of other helm versions, kept as they are.
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// Where a revision stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is what is there.
    Deployed,
    /// It was removed and its record kept.
    Uninstalled,
    /// A later revision took its place.
    Superseded,
    /// It was not applied as a whole.
    Failed,
    /// It is being removed.
    Uninstalling,
    /// A first revision is being applied.
    PendingInstall,
    /// A later revision is being applied.
    PendingUpgrade,
    /// An earlier revision is being applied again.
    PendingRollback,
    /// helm does not know, or meshrun does not know the word.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Status {
    /// Whether a helm is at work on the release, or was killed while it was.
    pub fn is_pending(self) -> bool {
        matches!(
            self,
            Self::PendingInstall | Self::PendingUpgrade | Self::PendingRollback | Self::Uninstalling
        )
    }

    /// The word that helm uses: `pending-install`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployed => "deployed",
            Self::Uninstalled => "uninstalled",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::Uninstalling => "uninstalling",
            Self::PendingInstall => "pending-install",
            Self::PendingUpgrade => "pending-upgrade",
            Self::PendingRollback => "pending-rollback",
            Self::Unknown => "unknown",
        }
    }
}

impl Release {
    /// Returns the revision that follows, as deployed at `now`; the description is what `helm history` shows.
    ///
    /// # Errors
    /// Where a file of the chart that belongs into the record is no YAML.
    pub fn next(
        previous: Option<&Self>,
        rendered: &Rendered,
        now: Timestamp,
        description: &str,
    ) -> Result<Self, HelmError> {
        let now = now.to_string();
        Ok(Self {
            name: rendered.release.clone(),
            namespace: rendered.namespace.clone(),
            version: previous.map_or(1, |previous| previous.version + 1),
            info: Info {
                first_deployed: previous
                    .map_or_else(|| now.clone(), |previous| previous.info.first_deployed.clone()),
                last_deployed: now,
                description: description.into(),
                status: Status::Deployed,
                notes: rendered.notes.clone(),
                ..Info::default()
            },
            chart: rendered.chart.record()?,
            config: rendered.values.clone(),
            manifest: rendered.manifest.clone(),
            hooks: rendered.hooks.iter().map(record_hook).collect(),
            apply_method: Some("ssa".into()),
            labels: previous.map(|previous| previous.labels.clone()).unwrap_or_default(),
            other: Map::new(),
        })
    }

    /// Whether a rendering is what this revision deployed, so that nothing needs to be recorded.
    pub fn is_same(&self, rendered: &Rendered) -> bool {
        self.info.status == Status::Deployed
            && self.chart_field("name") == rendered.chart.name
            && self.chart_field("version") == rendered.chart.version
            && self.manifest == rendered.manifest
            && same_values(&self.config, &rendered.values)
            && self.hook_manifests().eq(rendered.hooks.iter().map(|hook| hook.manifest.as_str()))
    }

    /// Name and version of the chart: `istiod-1.19.3`.
    pub fn chart_title(&self) -> String {
        format!("{}-{}", self.chart_field("name"), self.chart_field("version"))
    }

    /// The objects of this revision, without hooks; those without a namespace may live in the release's.
    ///
    /// # Errors
    /// Where the manifest is no YAML.
    pub fn objects(&self) -> Result<Vec<Object>, HelmError> {
        manifest::objects(&self.chart_title(), &self.manifest)
    }

    /// Names the Secret that records this revision.
    pub fn reference(&self) -> ObjectRef {
        ObjectRef::namespaced("v1", "Secret", &self.namespace, codec::secret_name(&self.name, self.version))
    }

    fn chart_field(&self, field: &str) -> &str {
        self.chart["metadata"][field].as_str().unwrap_or_default()
    }

    fn hook_manifests(&self) -> impl Iterator<Item = &str> {
        let hooks = self.hooks.as_array().map(Vec::as_slice).unwrap_or_default();
        hooks.iter().map(|hook| hook["manifest"].as_str().unwrap_or_default())
    }
}

/// The label selector of the records of a release.
pub fn selector(release: &str) -> String {
    format!("owner=helm,name={release}")
}

fn record_hook(hook: &Hook) -> Value {
    json!({
        "name": hook.object.name(),
        "kind": hook.object.kind(),
        "path": hook.path,
        "manifest": hook.manifest,
        "events": hook.events,
        "last_run": { "started_at": "", "completed_at": "", "phase": "" },
        "weight": hook.weight,
        "delete_policies": hook.delete_policies,
        "output_log_policies": hook.output_log_policies,
    })
}

/// Whether values mean the same: helm reads every number as a float, and drops an empty mapping at the top.
fn same_values(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, Value::Object(map)) | (Value::Object(map), Value::Null) => map.is_empty(),
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_values(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_values(a, b)))
        }
        (a, b) => a == b,
    }
}

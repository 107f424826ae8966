//! What the inventory says was made, looked up in the cluster.

use meshrun_protocol::ListQuery;
use serde::Serialize;

use super::{
    PlanError, Planner,
    model::{Plan, Verb},
};
use crate::{
    helm::release::{self, Stored},
    ids::StepId,
    state::inventory::Inventory,
};

/// One step as it is in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepStatus {
    /// The step.
    pub step: StepId,
    /// Its plugin.
    pub uses: String,
    /// Objects it made that are there.
    pub objects: usize,
    /// Objects it made that are gone.
    pub missing: Vec<String>,
    /// Its Helm releases.
    pub releases: Vec<ReleaseStatus>,
}

/// One Helm release as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleaseStatus {
    /// `namespace/name`.
    pub name: String,
    /// The newest revision.
    pub revision: u32,
    /// In helm's words: `deployed`.
    pub status: String,
    /// `istiod-1.19.3`.
    pub chart: String,
    /// Version of the software in the chart.
    pub app_version: String,
    /// When it was recorded.
    pub updated: String,
}

impl Planner {
    /// Looks up what the inventory holds.
    ///
    /// # Errors
    /// When the cluster cannot be read.
    pub async fn status(&self, inventory: &Inventory) -> Result<Vec<StepStatus>, PlanError> {
        let mut all = Vec::new();
        for (id, entry) in &inventory.steps {
            let mut status = StepStatus {
                step: id.clone(),
                uses: entry.uses.clone(),
                objects: 0,
                missing: Vec::new(),
                releases: Vec::new(),
            };
            for object in &entry.objects {
                match self.cluster.get(object).await? {
                    Some(_) => status.objects += 1,
                    None => status.missing.push(object.to_string()),
                }
            }
            for name in &entry.releases {
                status.releases.extend(self.release_status(name).await?);
            }
            all.push(status);
        }
        // In the order of the pipeline; what is not in it any more comes last.
        all.sort_by_key(|status| {
            self.pipeline.steps.iter().position(|step| step.id == status.step).unwrap_or(usize::MAX)
        });
        Ok(all)
    }

    async fn release_status(&self, name: &str) -> Result<Option<ReleaseStatus>, PlanError> {
        let Some((namespace, release)) = name.split_once('/') else { return Ok(None) };
        let query = ListQuery {
            api_version: "v1".into(),
            kind: "Secret".into(),
            namespace: Some(namespace.into()),
            labels: Some(release::selector(release)),
        };
        let Some(stored) = Stored::latest(self.cluster.list(&query).await?)? else { return Ok(None) };
        let release = stored.release;
        Ok(Some(ReleaseStatus {
            name: name.into(),
            revision: release.version,
            status: release.info.status.as_str().into(),
            chart: release.chart_title(),
            app_version: release.chart["metadata"]["appVersion"].as_str().unwrap_or_default().into(),
            updated: release.info.last_deployed.clone(),
        }))
    }
}

impl Plan {
    /// The objects that are not as the pipeline says, each with what would happen to it.
    pub fn changed_objects(&self) -> Vec<String> {
        let changes = self.steps.iter().flat_map(|step| &step.actions).flat_map(|action| &action.changes);
        changes
            .filter_map(|change| {
                let what = match change.verb {
                    Verb::Unchanged => return None,
                    Verb::Create | Verb::CreateLater => "is missing",
                    Verb::Update => "has changed",
                    Verb::Delete => "left the pipeline",
                    Verb::Replace => "has changed where it cannot be changed back",
                };
                Some(format!("{} {what}", change.object))
            })
            .collect()
    }
}

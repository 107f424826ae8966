//! What the inventory holds and the pipeline no longer plans.

use std::collections::{BTreeMap, BTreeSet};

use meshrun_protocol::{Diagnostic, ListQuery, ObjectRef};

use super::{
    HELM_MANAGER, MANAGER, PlanError, PlannedStep, Planner,
    model::{Change, PlannedAction, StepPlan, StepState, Verb},
};
use crate::{
    cluster::{Cluster, Object},
    helm::release::selector,
    ids::StepId,
    state::inventory::Inventory,
};

/// Id under which removals stand in a plan; no step of a pipeline can be called so.
pub const PRUNE: &str = "(prune)";
/// Kinds that are never removed by a run: too much goes with them.
const KEPT: [&str; 2] = ["Namespace", "CustomResourceDefinition"];

/// Objects that left the pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prune {
    /// To be deleted.
    pub objects: BTreeSet<ObjectRef>,
    /// Left alone, whatever the pipeline says.
    pub kept: BTreeSet<ObjectRef>,
    /// Recorded and no longer the pipeline's, but not there, or somebody else's by now: to be forgotten.
    pub gone: BTreeSet<ObjectRef>,
    /// Releases, as `namespace/name`, whose records are among `objects`.
    pub releases: BTreeSet<String>,
}

impl Planner {
    /// Finds objects that the inventory holds and that no step plans any more.
    pub(super) async fn prune(
        &self,
        inventory: &Inventory,
        steps: &BTreeMap<StepId, PlannedStep>,
    ) -> Result<Prune, PlanError> {
        let planned: Vec<ObjectRef> =
            steps.values().flat_map(PlannedStep::objects).map(Object::reference).collect();
        // What a step deletes by itself (its chart no longer has it) is in its part of the plan, and asked for there.
        let deleted: Vec<&ObjectRef> = steps.values().flat_map(PlannedStep::deleted).collect();
        let releases: BTreeSet<String> = steps.values().flat_map(PlannedStep::releases).collect();
        let mut prune = Prune::default();
        for (id, entry) in &inventory.steps {
            // A step that takes no part now (not selected, `if` is false, not known yet) keeps what it has.
            let gone = self.pipeline.step(id.as_str()).is_none();
            if !gone && !steps.contains_key(id) {
                continue;
            }
            let left = entry.objects.iter().filter(|object| {
                !planned.iter().any(|other| object.is_same(other))
                    && !deleted.iter().any(|other| object.is_same(other))
            });
            for object in left {
                let set = match self.cluster.get(object).await? {
                    Some(live) if !is_ours(&live) => &mut prune.gone,
                    None => &mut prune.gone,
                    Some(_) if KEPT.contains(&object.kind.as_str()) => &mut prune.kept,
                    Some(_) => &mut prune.objects,
                };
                set.insert(object.clone());
            }
            for release in entry.releases.difference(&releases) {
                prune.objects.extend(records(self.cluster.as_ref(), release).await?);
                prune.releases.insert(release.clone());
            }
        }
        Ok(prune)
    }
}

/// Whether meshrun still has a part in an object. One that somebody deleted and made anew bears its name and no more.
fn is_ours(live: &Object) -> bool {
    let managers = live.items("/metadata/managedFields").iter();
    managers.filter_map(|entry| entry["manager"].as_str()).any(|name| [MANAGER, HELM_MANAGER].contains(&name))
}

/// The Secrets that record a release, given as `namespace/name`.
///
/// # Errors
/// When they cannot be listed.
pub async fn records(cluster: &dyn Cluster, release: &str) -> crate::cluster::Result<Vec<ObjectRef>> {
    let Some((namespace, name)) = release.split_once('/') else { return Ok(Vec::new()) };
    let query = ListQuery {
        api_version: "v1".into(),
        kind: "Secret".into(),
        namespace: Some(namespace.into()),
        labels: Some(selector(name)),
    };
    Ok(cluster.list(&query).await?.iter().map(Object::reference).collect())
}

impl Prune {
    /// The removals as a part of the plan; `None` where there is nothing to remove or to say.
    pub(super) fn plan(&self) -> Option<StepPlan> {
        if self.objects.is_empty() && self.kept.is_empty() {
            return None;
        }
        let deleted = |object: &ObjectRef| Change {
            object: object.clone(),
            verb: Verb::Delete,
            adopted_from: None,
            fields: Vec::new(),
        };
        let kept = |object: &ObjectRef| {
            Diagnostic::hint("", format!("{object} left the pipeline and is kept"))
                .with_hint("meshrun never prunes namespaces and CRDs; delete it yourself if nothing needs it")
        };
        Some(StepPlan {
            id: StepId::new(PRUNE),
            uses: "meshrun".into(),
            needs: Vec::new(),
            state: StepState::Planned,
            actions: vec![PlannedAction {
                id: "delete".into(),
                title: "delete what left the pipeline".into(),
                changes: self.objects.iter().map(deleted).collect(),
                revision: None,
            }],
            diagnostics: self.kept.iter().map(kept).collect(),
        })
    }
}

//! What the inventory holds and the pipeline no longer plans.

use std::collections::{BTreeMap, BTreeSet};

use meshrun_protocol::{Diagnostic, ListQuery, ObjectRef};
use serde_json::Value;

use super::{
    HELM_MANAGER, MANAGER, PlanError, PlannedStep, Planner,
    model::{Change, PlannedAction, StepPlan, StepState, Verb},
};
use crate::{
    cluster::{Cluster, Object},
    helm::release::{is_kept, selector},
    ids::StepId,
    state::inventory::Inventory,
};

/// Id under which removals stand in a plan; no step of a pipeline can be called so.
pub const PRUNE: &str = "(prune)";

/// Objects that left the pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prune {
    /// To be deleted.
    pub objects: BTreeSet<ObjectRef>,
    /// Left alone, and why.
    pub kept: BTreeMap<ObjectRef, &'static str>,
    /// Recorded, but not there, or somebody else's by now: to be forgotten.
    pub gone: BTreeSet<ObjectRef>,
    /// The records among `objects`, by release as `namespace/name`.
    pub releases: BTreeMap<String, Vec<ObjectRef>>,
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
            // A step that takes no part now (`if` is false, not known yet) keeps what it has.
            let gone = self.pipeline.step(id.as_str()).is_none();
            if !gone && !steps.contains_key(id) {
                continue;
            }
            let left = entry.objects.iter().filter(|object| {
                !planned.iter().any(|other| object.is_same(other))
                    && !deleted.iter().any(|other| object.is_same(other))
            });
            for object in left {
                let live = self.cluster.get(object).await?.filter(is_ours);
                match live.as_ref().map(why_kept) {
                    None => drop(prune.gone.insert(object.clone())),
                    Some(Some(why)) => drop(prune.kept.insert(object.clone(), why)),
                    Some(None) => drop(prune.objects.insert(object.clone())),
                }
            }
            for release in entry.releases.difference(&releases) {
                let records = records(self.cluster.as_ref(), release).await?;
                prune.objects.extend(records.iter().cloned());
                prune.releases.insert(release.clone(), records);
            }
        }
        Ok(prune)
    }
}

/// Why an object is not removed by a run; `None` where it is.
fn why_kept(live: &Object) -> Option<&'static str> {
    match live.kind() {
        // Too much goes with them.
        "Namespace" | "CustomResourceDefinition" => Some("meshrun never prunes namespaces and CRDs"),
        _ => is_kept(live).then_some("its annotation helm.sh/resource-policy says so"),
    }
}

/// Whether meshrun still applies an object. One that was recorded and never made, or was made anew by somebody else, bears
/// its name and no more. Of an object without a field of its own, a namespace say, the server notes no manager.
pub(super) fn is_ours(live: &Object) -> bool {
    let entries = live.items("/metadata/managedFields").iter();
    let mut entries = entries.filter(|entry| entry.get("subresource").is_none()).peekable();
    let ours = |entry: &Value| {
        entry["operation"] == "Apply" && [MANAGER, HELM_MANAGER].iter().any(|name| entry["manager"] == *name)
    };
    entries.peek().is_none() || entries.any(ours)
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
    /// Without what steps have made meanwhile of which nothing was known when the run was planned.
    #[must_use]
    pub fn without(&self, made: &Inventory) -> Self {
        let mut left = self.clone();
        left.releases.retain(|release, _| !made.steps.values().any(|entry| entry.releases.contains(release)));
        let records = self.releases.iter().filter(|(release, _)| !left.releases.contains_key(*release));
        let records: Vec<&ObjectRef> = records.flat_map(|(_, records)| records).collect();
        left.objects.retain(|object| !made.names(object) && !records.contains(&object));
        left
    }

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
        let kept = |(object, why): (&ObjectRef, &&str)| {
            Diagnostic::hint("", format!("{object} left the pipeline and is kept"))
                .with_hint(format!("{why}; delete it yourself if nothing needs it"))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::inventory::Entry;

    fn secret(name: &str) -> ObjectRef {
        ObjectRef::namespaced("v1", "Secret", "mesh", name)
    }

    #[test]
    fn what_a_step_made_meanwhile_stays() {
        let prune = Prune {
            objects: [secret("key"), secret("old"), secret("kiali.v1"), secret("grafana.v1")].into(),
            releases: [
                ("mesh/kiali".to_owned(), vec![secret("kiali.v1")]),
                ("mesh/grafana".to_owned(), vec![secret("grafana.v1")]),
            ]
            .into(),
            ..Prune::default()
        };
        let mut made = Inventory::empty("test");
        let entry = Entry {
            objects: [secret("key")].into(),
            releases: ["mesh/kiali".to_owned()].into(),
            ..Entry::default()
        };
        made.add(&StepId::new("dashboard"), entry, |_| true);
        let left = prune.without(&made);
        assert_eq!(left.objects, [secret("old"), secret("grafana.v1")].into());
        assert_eq!(left.releases.keys().collect::<Vec<_>>(), ["mesh/grafana"]);
    }

    #[test]
    fn object_that_somebody_made_anew_is_theirs() {
        let live = |entries: Value| {
            let metadata = json!({ "name": "x", "managedFields": entries });
            Object::new(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata })).unwrap()
        };
        assert!(is_ours(&live(json!([{ "manager": "meshrun", "operation": "Apply" }]))));
        assert!(is_ours(&live(json!([{ "manager": "helm", "operation": "Apply" }]))));
        // helm 3 writes by `Update`: an install of somebody's that bears the same name.
        assert!(!is_ours(&live(json!([{ "manager": "helm", "operation": "Update" }]))));
        assert!(!is_ours(&live(json!([{ "manager": "kubectl-create", "operation": "Update" }]))));
        // A namespace without a label of its own has no manager that the server would note.
        assert!(is_ours(&live(json!([{ "manager": "x", "operation": "Update", "subresource": "status" }]))));
    }
}

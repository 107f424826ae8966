//! What a destroy would do: the inventory's steps in reverse order of their needs, each with what its plugin knows of
//! taking it away.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use meshrun_protocol::{Diagnostic, ListQuery, ObjectRef, TeardownRequest};

use super::{
    MANAGER, PlanError, Planner,
    model::{Change, Plan, PlannedAction, StepPlan, StepState, Verb},
    phases::removal_phase,
    prune::{is_ours, records},
    teardown::silent,
    work::Work,
};
use crate::{
    cluster::{Kind, Object},
    helm::release::is_kept,
    ids::StepId,
    spec::StepResult,
    state::inventory::{Entry, Inventory},
};

/// A planned destroy.
pub struct DestroyPlan {
    /// What people and tools see.
    pub plan: Plan,
    /// The steps, in the order in which they are taken away.
    pub steps: Vec<StepRemoval>,
    /// CRDs to delete at the end; empty unless asked for.
    pub crds: BTreeSet<ObjectRef>,
    /// Namespaces that meshrun created; each is deleted at the very end if nothing of a stranger's is left in it.
    pub namespaces: BTreeSet<ObjectRef>,
    /// Namespaces that were there before; what meshrun wrote into them is taken back.
    pub lent: Vec<Object>,
    /// Objects that people made with the APIs of the steps, to be backed up.
    pub custom: Vec<Object>,
}

/// One step to be taken away.
pub struct StepRemoval {
    /// The step.
    pub id: StepId,
    /// What must happen while it is still alive.
    pub before: Vec<Work>,
    /// The same, as the plan shows it.
    pub before_plan: Vec<PlannedAction>,
    /// What it made.
    pub objects: BTreeSet<ObjectRef>,
    /// What its software left behind.
    pub leftovers: BTreeSet<ObjectRef>,
    /// What its plugin was asked; `None` where it could not be.
    pub request: Option<TeardownRequest>,
}

impl Planner {
    /// Plans the removal of everything that the inventory holds.
    ///
    /// # Errors
    /// When the cluster cannot be read.
    pub async fn plan_destroy(&self, inventory: &Inventory, crds: bool) -> Result<DestroyPlan, PlanError> {
        let mut scope = self.pipeline.scope();
        for step in self.pipeline.order() {
            let outputs = self.outputs_now(step, &scope).await;
            scope.steps.insert(step.id.clone(), StepResult { outputs, ..StepResult::default() });
        }
        let mut destroy = DestroyPlan {
            plan: Plan {
                pipeline: self.pipeline.name.clone(),
                cluster: self.cluster.name(),
                steps: Vec::new(),
            },
            steps: Vec::new(),
            crds: BTreeSet::new(),
            namespaces: BTreeSet::new(),
            lent: Vec::new(),
            custom: Vec::new(),
        };
        // Two steps may share what only the last of them takes along: each sees the cluster as its removal will find it.
        let mut gone: Vec<ObjectRef> = Vec::new();
        for (id, entry) in reversed(&inventory.steps) {
            let request = self.teardown_request(id, &scope);
            let answer = match &request {
                Ok(request) => self.teardown(request, gone.clone()).await,
                Err(why) => Err(why.clone()),
            };
            let (teardown, request) = match answer {
                Ok(teardown) => (teardown, request.ok()),
                // That it cannot be asked must not stand in the way of removing.
                Err(why) => (silent(&why), None),
            };
            let mut diagnostics = teardown.diagnostics;
            let (before, before_plan, findings) = self.make_ready(Path::new("."), &teardown.before).await?;
            diagnostics.extend(findings);
            for query in &teardown.custom {
                let objects = self.cluster.list(query).await?;
                destroy.custom.extend(objects.into_iter().filter(|object| !inventory.holds(object)));
            }
            let mut objects = BTreeSet::new();
            for object in &entry.objects {
                // Somebody else's by now, or asked to be kept: the residue report names it.
                let Some(live) = self.cluster.get(object).await?.filter(is_ours) else { continue };
                match object.kind.as_str() {
                    "CustomResourceDefinition" if crds => destroy.crds.insert(object.clone()),
                    "CustomResourceDefinition" => false,
                    "Namespace" if entry.created.contains(object) => {
                        destroy.namespaces.insert(object.clone())
                    }
                    "Namespace" => {
                        destroy.lent.push(bare(object));
                        false
                    }
                    _ if is_kept(&live) => false,
                    _ => objects.insert(object.clone()),
                };
            }
            for release in &entry.releases {
                objects.extend(records(self.cluster.as_ref(), release).await?);
            }
            let wanted = teardown.leftovers.into_iter().filter(|leftover| leftover.delete);
            let leftovers: BTreeSet<ObjectRef> = wanted.flat_map(|leftover| leftover.objects).collect();
            gone.extend(objects.iter().chain(&leftovers).cloned());
            let mut actions = before_plan.clone();
            actions.extend(deletion("delete", "delete what the step made", &objects));
            actions.extend(deletion("leftovers", "delete what its software left behind", &leftovers));
            destroy.plan.steps.push(shown(id, entry, actions, diagnostics));
            destroy.steps.push(StepRemoval {
                id: id.clone(),
                before,
                before_plan,
                objects,
                leftovers,
                request,
            });
        }
        let last = [
            (CRDS, "delete the CRDs, and with them every object of their kinds", &destroy.crds),
            (
                NAMESPACES,
                "delete the namespaces that meshrun created, where nothing else is left in them",
                &destroy.namespaces,
            ),
        ];
        let lent = self.taken_back(&destroy.lent).await?;
        for (id, title, objects) in last {
            let mut actions: Vec<PlannedAction> = deletion("delete", title, objects).into_iter().collect();
            if id == NAMESPACES {
                actions.extend(lent.clone());
            }
            if !actions.is_empty() {
                destroy.plan.steps.push(shown(&StepId::new(id), &Entry::default(), actions, Vec::new()));
            }
        }
        Ok(destroy)
    }

    /// What taking back from namespaces would change; `None` where nothing of ours is in them.
    async fn taken_back(&self, lent: &[Object]) -> Result<Option<PlannedAction>, PlanError> {
        let (mut changes, _) = self.compare_all(lent, MANAGER).await?;
        changes.retain(|change| change.verb != Verb::Unchanged);
        Ok((!changes.is_empty()).then(|| PlannedAction {
            id: "take-back".into(),
            title: TAKE_BACK.into(),
            changes,
            revision: None,
        }))
    }

    /// The objects of people's that go with the CRDs of a destroy, and those that plugins named; looked for when it is
    /// about to begin.
    ///
    /// # Errors
    /// When they cannot be read: without them there is no backup.
    pub async fn to_back_up(
        &self,
        destroy: &DestroyPlan,
        inventory: &Inventory,
    ) -> Result<Vec<Object>, PlanError> {
        let mut found = destroy.custom.clone();
        let kinds = if destroy.crds.is_empty() { Vec::new() } else { self.cluster.kinds().await? };
        for crd in &destroy.crds {
            let Some(crd) = self.cluster.get(crd).await? else { continue };
            let (group, kind) = (crd.text("/spec/group"), crd.text("/spec/names/kind"));
            let served = |one: &&Kind| one.kind == kind && one.api_version.starts_with(&format!("{group}/"));
            let Some(served) = kinds.iter().find(served) else { continue };
            let query = ListQuery {
                api_version: served.api_version.clone(),
                kind: served.kind.clone(),
                namespace: None,
                labels: None,
            };
            for object in self.cluster.list(&query).await? {
                // A plugin may have named it in another version of its API.
                let reference = object.reference();
                let known = found.iter().any(|other| other.reference().is_same(&reference));
                if !known && !inventory.holds(&object) {
                    found.push(object);
                }
            }
        }
        Ok(found)
    }

    /// Finds what stands in the way of deleting a namespace: objects that nobody else will delete.
    ///
    /// # Errors
    /// When the cluster cannot be read.
    pub async fn strangers(&self, namespace: &str) -> Result<Vec<ObjectRef>, PlanError> {
        let mut strangers = Vec::new();
        for kind in self.cluster.kinds().await?.into_iter().filter(|kind| kind.namespaced) {
            let query = ListQuery {
                api_version: kind.api_version,
                kind: kind.kind,
                namespace: Some(namespace.into()),
                labels: None,
            };
            let objects = self.cluster.list(&query).await?;
            strangers.extend(objects.iter().filter(|object| !goes_by_itself(object)).map(Object::reference));
        }
        Ok(strangers)
    }
}

/// Id under which CRDs stand in the plan of a destroy.
pub const CRDS: &str = "(crds)";
/// Id under which namespaces stand in the plan of a destroy.
pub const NAMESPACES: &str = "(namespaces)";

/// What is done to namespaces that were there before, for people.
pub const TAKE_BACK: &str = "take back what meshrun wrote into namespaces that were there before";

/// An object of which nothing is asked: applied, it takes back every field that was applied before.
fn bare(object: &ObjectRef) -> Object {
    let object = serde_json::json!({
        "apiVersion": object.api_version, "kind": object.kind, "metadata": { "name": object.name },
    });
    Object::new(object).expect("it has kind and name")
}

/// What Kubernetes itself puts into every namespace, or removes with its owner.
fn goes_by_itself(object: &Object) -> bool {
    !object.items("/metadata/ownerReferences").is_empty()
        || object.at("/metadata/deletionTimestamp").is_some()
        || matches!(
            (object.kind(), object.name()),
            ("ServiceAccount", "default")
                | ("ConfigMap", "kube-root-ca.crt")
                | ("Event" | "Endpoints" | "EndpointSlice" | "PodMetrics", _)
        )
}

fn deletion(id: &str, title: &str, objects: &BTreeSet<ObjectRef>) -> Option<PlannedAction> {
    let mut sorted: Vec<&ObjectRef> = objects.iter().collect();
    sorted.sort_by_key(|object| removal_phase(object));
    let changes = sorted.into_iter().map(|object| Change {
        object: object.clone(),
        verb: Verb::Delete,
        adopted_from: None,
        fields: Vec::new(),
    });
    (!objects.is_empty()).then(|| PlannedAction {
        id: id.into(),
        title: title.into(),
        changes: changes.collect(),
        revision: None,
    })
}

fn shown(id: &StepId, entry: &Entry, actions: Vec<PlannedAction>, diagnostics: Vec<Diagnostic>) -> StepPlan {
    StepPlan {
        id: id.clone(),
        uses: if entry.uses.is_empty() { "meshrun".into() } else { entry.uses.clone() },
        needs: Vec::new(),
        state: StepState::Planned,
        actions,
        diagnostics,
    }
}

/// Steps in an order in which each comes before those that it needed.
fn reversed(steps: &BTreeMap<StepId, Entry>) -> Vec<(&StepId, &Entry)> {
    let mut left: Vec<(&StepId, &Entry)> = steps.iter().collect();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let (last, rest): (Vec<_>, Vec<_>) =
            left.iter().partition(|(id, _)| !left.iter().any(|(_, other)| other.needs.contains(*id)));
        if last.is_empty() {
            // Needs that go in a circle come from a damaged record: any order is as good as another.
            order.extend(rest);
            break;
        }
        order.extend(last);
        left = rest;
    }
    order
}

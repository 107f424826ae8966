//! From a pipeline, its plugins and a cluster to a [`model::Plan`]: what would change, object by object.
//!
//! [`Planner::plan_all`] goes through the steps by their needs; [`Planner::plan_step`] does one of them and is what the
//! executor calls again just before a step runs.

mod compare;
pub mod condition;
pub mod destroy;
mod diff;
mod error;
mod known;
pub mod model;
mod needs;
pub mod owned;
pub mod ownership;
pub mod phases;
pub mod prune;
mod release;
pub mod render;
pub mod residue;
mod services;
pub mod status;
mod step;
mod teardown;
#[cfg(test)]
mod tests;
pub mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::try_join_all;
use serde_json::{Map, Value};

pub use error::PlanError;
pub use services::ReadOnly;
pub use step::PlannedStep;
pub(crate) use step::{HELM_MANAGER, MANAGER};

use crate::{
    cluster::{Cluster, Object},
    helm::Helm,
    ids::StepId,
    plugin::{Digest, Plugin},
    spec::{self, Pipeline, Scope, Step, StepResult},
    state::inventory::Inventory,
};
use known::KnownApis;
use model::{Plan, StepPlan, StepState};
use prune::Prune;

/// Everything a plan is made from.
#[derive(Clone)]
pub struct Planner {
    pipeline: Arc<Pipeline>,
    plugins: Arc<BTreeMap<StepId, Plugin>>,
    cluster: Arc<dyn Cluster>,
    helm: Arc<Helm>,
    apis: Arc<KnownApis>,
    allow_skip: bool,
}

/// Which steps take part: all of them, or those that `--only` and `--from` leave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Ids of the steps that run; `None` is all of them.
    pub steps: Option<BTreeSet<StepId>>,
}

impl Selection {
    /// Whether a step takes part.
    pub fn contains(&self, step: &StepId) -> bool {
        self.steps.as_ref().is_none_or(|steps| steps.contains(step))
    }
}

/// A plan and what is needed to carry it out.
pub struct Planned {
    /// What people and tools see.
    pub plan: Plan,
    /// The steps that are known, ready to run.
    pub steps: BTreeMap<StepId, PlannedStep>,
    /// Steps that are not selected, with the outputs that the cluster shows of them.
    pub unselected: BTreeMap<StepId, Map<String, Value>>,
    /// Objects that left the pipeline.
    pub prune: Prune,
}

impl Planned {
    /// What the inventory says once the steps that are known have been carried out. It differs from `inventory` without
    /// any object changing where a step was renamed, or needs others than before.
    pub fn recorded(&self, inventory: &Inventory, pipeline: &Pipeline) -> Inventory {
        let mut inventory = inventory.clone();
        for (id, planned) in &self.steps {
            let Some(step) = pipeline.step(id.as_str()) else { continue };
            let entry = planned.entry(step);
            if !entry.is_empty() {
                inventory.add(id, entry, |id| pipeline.step(id.as_str()).is_some());
            }
        }
        inventory
    }
}

impl Planner {
    /// Takes a pipeline, the plugin of each of its steps, a cluster and helm.
    pub fn new(
        pipeline: Arc<Pipeline>,
        plugins: BTreeMap<StepId, Plugin>,
        cluster: Arc<dyn Cluster>,
        helm: Arc<Helm>,
    ) -> Self {
        let apis = Arc::new(KnownApis::new(Arc::clone(&cluster)));
        Self { pipeline, plugins: Arc::new(plugins), cluster, helm, apis, allow_skip: false }
    }

    /// Lets steps jump over versions that they would insist on.
    #[must_use]
    pub fn allow_skip(mut self, allow: bool) -> Self {
        self.allow_skip = allow;
        self
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// The cluster.
    pub fn cluster(&self) -> &Arc<dyn Cluster> {
        &self.cluster
    }

    /// A digest of what each selected step is planned from: its plugin, its configuration, its charts. A plan does not show
    /// all of it, such as the fields of objects that are new.
    pub fn inputs(&self, planned: &Planned) -> BTreeMap<StepId, String> {
        let scope = self.pipeline.scope();
        let selected = self.pipeline.steps.iter().filter(|step| !planned.unselected.contains_key(&step.id));
        let digest = |step: &Step| {
            let plugin = self.plugins.get(&step.id).map(|plugin| plugin.digest().hex());
            let with = spec::evaluate(step, &scope).map_or_else(|_| step.with.clone(), |now| now.with);
            let charts: Vec<&str> =
                planned.steps.get(&step.id).into_iter().flat_map(PlannedStep::chart_digests).collect();
            let inputs = serde_json::json!([plugin, with, charts]).to_string();
            (step.id.clone(), Digest::of(inputs.as_bytes()).hex())
        };
        selected.map(digest).collect()
    }

    /// Plans every selected step as far as it can be known before anything has run, and the removal of what the
    /// inventory holds and no step plans any more.
    ///
    /// # Errors
    /// The first step that cannot be planned, and why.
    pub async fn plan_all(
        &self,
        selection: &Selection,
        inventory: &Inventory,
    ) -> Result<Planned, (StepId, PlanError)> {
        let wanted: BTreeSet<&StepId> = self
            .pipeline
            .steps
            .iter()
            .filter(|step| selection.contains(&step.id))
            .flat_map(|step| step.ancestors.iter().chain([&step.id]))
            .collect();
        let mut scope = self.pipeline.scope();
        let mut plans: BTreeMap<StepId, StepPlan> = BTreeMap::new();
        let mut steps = BTreeMap::new();
        let mut unselected = BTreeMap::new();
        // Steps whose needs are planned are planned side by side, level by level: a step must know the outputs and
        // the CRDs of those it needs.
        let mut left: Vec<&Step> = self.pipeline.steps.iter().collect();
        while !left.is_empty() {
            let (level, later): (Vec<&Step>, Vec<&Step>) =
                left.into_iter().partition(|step| step.needs.iter().all(|need| plans.contains_key(need)));
            let (scope_now, wanted) = (&scope, &wanted);
            let answers = try_join_all(level.iter().map(|step| async move {
                if !wanted.contains(&step.id) {
                    return Ok((without(step, skipped("not selected")), None));
                }
                let answer = self.plan_selected(step, scope_now, selection).await;
                answer.map_err(|error| (step.id.clone(), error))
            }))
            .await?;
            for (step, (plan, planned)) in level.into_iter().zip(answers) {
                let outputs =
                    planned.as_ref().map(|planned| planned.known_outputs.clone()).unwrap_or_default();
                if !selection.contains(&step.id) {
                    unselected.insert(step.id.clone(), outputs.clone());
                } else if let Some(planned) = planned {
                    steps.insert(step.id.clone(), planned);
                }
                let left_out = matches!(plan.state, StepState::Skipped { .. });
                scope
                    .steps
                    .insert(step.id.clone(), StepResult { outputs, left_out, ..StepResult::default() });
                plans.insert(step.id.clone(), plan);
            }
            left = later;
        }
        if let Some(error) = planned_twice(&steps) {
            return Err(error);
        }
        // Steps that are not selected may want what the selected ones no longer make.
        let prune = match selection.steps {
            Some(_) => Prune::default(),
            None => {
                self.prune(inventory, &steps).await.map_err(|error| (StepId::new(prune::PRUNE), error))?
            }
        };
        let ordered = self
            .pipeline
            .steps
            .iter()
            .filter_map(|step| plans.remove(&step.id))
            .chain(prune.plan())
            .collect();
        let plan =
            Plan { pipeline: self.pipeline.name.clone(), cluster: self.cluster.name(), steps: ordered };
        Ok(Planned { plan, steps, unselected, prune })
    }

    async fn plan_selected(
        &self,
        step: &Step,
        scope: &Scope,
        selection: &Selection,
    ) -> Result<(StepPlan, Option<PlannedStep>), PlanError> {
        match self.plan_step(step, scope).await? {
            // Planned all the same: the selected steps may need its outputs.
            Outlook::Planned(planned) if !selection.contains(&step.id) => {
                Ok((without(step, skipped("not selected")), Some(*planned)))
            }
            Outlook::Planned(planned) => Ok((planned.plan.clone(), Some(*planned))),
            Outlook::Skipped => {
                let condition = step.condition.as_deref().unwrap_or("success()");
                Ok((without(step, skipped(&format!("`if: {condition}` is false"))), None))
            }
            Outlook::KnownAfter(other) => Ok((without(step, StepState::KnownAfter { step: other }), None)),
        }
    }
}

/// Refuses two steps that make one object differently: each run of one would undo the other.
fn planned_twice(steps: &BTreeMap<StepId, PlannedStep>) -> Option<(StepId, PlanError)> {
    let mut seen: BTreeMap<String, (&StepId, &Object)> = BTreeMap::new();
    for (id, object) in steps.iter().flat_map(|(id, step)| step.objects().map(move |object| (id, object))) {
        let reference = object.reference();
        let key = format!("{} {reference}", reference.group());
        match seen.insert(key, (id, object)) {
            Some((other, before)) if other != id && before != object => {
                let (object, other) = (reference.to_string(), other.clone());
                return Some((id.clone(), PlanError::PlannedTwice { object, other }));
            }
            _ => {}
        }
    }
    None
}

/// How much of a step can be known now.
pub enum Outlook {
    /// All of it.
    Planned(Box<PlannedStep>),
    /// Its condition is false.
    Skipped,
    /// Nothing until this step has run.
    KnownAfter(StepId),
}

fn skipped(reason: &str) -> StepState {
    StepState::Skipped { reason: reason.into() }
}

fn without(step: &Step, state: StepState) -> StepPlan {
    StepPlan {
        id: step.id.clone(),
        uses: step.uses.clone(),
        needs: step.needs.clone(),
        state,
        actions: Vec::new(),
        diagnostics: Vec::new(),
    }
}

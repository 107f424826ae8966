//! Carries out a destroy: step by step in reverse order, then CRDs, then namespaces, then a look for what is left.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use meshrun_protocol::{CheckStatus, ObjectRef};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Consent, Events, RunResult, StepError, action, apply::apply_objects, context::ActionContext,
    remove::remove,
};
use crate::{
    cluster::{ErrorKind, Object},
    event::{Event, RunOutcome, StepOutcome, Tally},
    ids::StepId,
    plan::{
        MANAGER, PlanError, Planner,
        destroy::{CRDS, DestroyPlan, NAMESPACES, StepRemoval, TAKE_BACK},
        residue::Residue,
    },
    state::inventory::{Inventory, InventoryStore},
};

/// Id under which the residue report stands.
pub const RESIDUE: &str = "(residue)";
/// Time for one step's removal.
const LIMIT: Duration = Duration::from_secs(600);

/// Carries out one destroy.
pub struct Destroyer {
    /// Reads the cluster.
    pub planner: Planner,
    /// Where events go.
    pub events: Events,
    /// What there is.
    pub inventory: Arc<InventoryStore>,
    /// Stops it: nothing new is started.
    pub cancel: CancellationToken,
}

/// How a destroy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestroyResult {
    /// How the removals ended.
    pub run: RunResult,
    /// Whether nothing is left.
    pub clean: bool,
}

impl Destroyer {
    /// Removes everything that is planned.
    pub async fn run(self, destroy: DestroyPlan) -> DestroyResult {
        let before = self.inventory.snapshot().await;
        let mut total = Tally::default();
        let mut failed = false;
        for step in &destroy.steps {
            // Steps that others needed stay while those could not be removed: they may still be in use.
            if failed || self.cancel.is_cancelled() {
                let stopped = self.cancel.is_cancelled();
                let why = if stopped { "the run was stopped" } else { "a removal before it failed" };
                self.skipped(&step.id, why);
                continue;
            }
            failed |= !self.step(&step.id, &mut total, |context| self.remove_step(context, step)).await;
        }
        let crds = StepId::new(CRDS);
        if !failed && !self.cancel.is_cancelled() && !destroy.crds.is_empty() {
            failed |= !self
                .step(&crds, &mut total, |context| self.remove_objects(context, "delete CRDs", &destroy.crds))
                .await;
        }
        let namespaces = StepId::new(NAMESPACES);
        let any = !destroy.namespaces.is_empty() || !destroy.lent.is_empty();
        if !failed && !self.cancel.is_cancelled() && any {
            failed |= !self
                .step(&namespaces, &mut total, |context| async {
                    self.take_back(&context, &destroy.lent).await?;
                    self.remove_namespaces(context, &destroy.namespaces).await
                })
                .await;
        }
        let mut clean = false;
        if !self.cancel.is_cancelled() {
            let (result, complete) = (&mut clean, !failed);
            let fine = self
                .step(&StepId::new(RESIDUE), &mut total, |_| async {
                    *result = self.look_for_residue(&before, &destroy, complete).await?;
                    Ok(())
                })
                .await;
            failed |= !fine;
        }
        let outcome = if self.cancel.is_cancelled() {
            RunOutcome::Interrupted
        } else if failed {
            RunOutcome::Failed
        } else {
            RunOutcome::Succeeded
        };
        DestroyResult { run: RunResult { outcome, tally: total }, clean }
    }

    /// Runs one removal with its events; returns whether it succeeded.
    async fn step<F, W>(&self, id: &StepId, total: &mut Tally, work: F) -> bool
    where
        F: FnOnce(ActionContext) -> W,
        W: Future<Output = Result<(), StepError>>,
    {
        let started = Instant::now();
        let tally = Arc::new(Mutex::new(Tally::default()));
        self.events.send(Event::StepStarted { step: id.clone(), attempt: 1 });
        let context = ActionContext {
            cluster: self.planner.cluster().clone(),
            step: id.clone(),
            action: "delete".into(),
            events: self.events.clone(),
            tally: tally.clone(),
            started,
            deadline: started + LIMIT,
            cancel: self.cancel.clone(),
            consent: Consent::Everything,
        };
        let outcome = match work(context).await {
            Ok(()) => StepOutcome::Succeeded,
            Err(StepError::Cancelled) => StepOutcome::Cancelled,
            Err(error) => StepOutcome::Failed { error: error.problem(), tolerated: false },
        };
        let fine = outcome == StepOutcome::Succeeded;
        let tally = *tally.lock().unwrap_or_else(PoisonError::into_inner);
        total.add(tally);
        let elapsed = started.elapsed();
        self.events.send(Event::StepFinished { step: id.clone(), outcome, elapsed, tally });
        fine
    }

    async fn remove_step(&self, context: ActionContext, step: &StepRemoval) -> Result<(), StepError> {
        action::run_all(&context, &step.before, &step.before_plan).await?;
        // Restarts of people's workloads may have taken long; what comes now has its own time.
        let context = ActionContext { deadline: Instant::now() + LIMIT, ..context };
        self.say(&context, "delete what the step made");
        remove(&context, &step.objects).await?;
        if !step.leftovers.is_empty() {
            self.say(&context, "delete what its software left behind");
            remove(&context, &step.leftovers).await?;
        }
        self.inventory.forget(&step.objects).await?;
        Ok(())
    }

    async fn remove_objects(
        &self,
        context: ActionContext,
        title: &str,
        objects: &BTreeSet<ObjectRef>,
    ) -> Result<(), StepError> {
        self.say(&context, title);
        remove(&context, objects).await?;
        self.inventory.forget(objects).await?;
        Ok(())
    }

    async fn take_back(&self, context: &ActionContext, lent: &[Object]) -> Result<(), StepError> {
        let mut there = Vec::new();
        for namespace in lent {
            // Applied, one that has gone meanwhile would come back.
            if context.cluster.get(&namespace.reference()).await?.is_some() {
                there.push(namespace.clone());
            }
        }
        if there.is_empty() {
            return Ok(());
        }
        self.say(context, TAKE_BACK);
        apply_objects(context, &there, MANAGER, &[]).await?;
        let gone = there.iter().map(Object::reference).collect();
        Ok(self.inventory.forget(&gone).await?)
    }

    async fn remove_namespaces(
        &self,
        context: ActionContext,
        namespaces: &BTreeSet<ObjectRef>,
    ) -> Result<(), StepError> {
        let mut empty = BTreeSet::new();
        for namespace in namespaces {
            let strangers = match self.planner.strangers(&namespace.name).await {
                Err(PlanError::Cluster(error)) if error.kind == ErrorKind::Forbidden => {
                    self.say(&context, &format!("keep {namespace}: {error}"));
                    continue;
                }
                strangers => strangers?,
            };
            match strangers.as_slice() {
                [] => {
                    empty.insert(namespace.clone());
                }
                [first, rest @ ..] => {
                    let more =
                        if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
                    self.say(&context, &format!("keep {namespace}: {first}{more} belong to others"));
                }
            }
        }
        self.remove_objects(context, "delete namespaces", &empty).await
    }

    /// Tells what is left; returns whether nothing is.
    async fn look_for_residue(
        &self,
        before: &Inventory,
        destroy: &DestroyPlan,
        complete: bool,
    ) -> Result<bool, StepError> {
        let staying = self.planner.left_behind(&destroy.steps).await;
        let mut report = self.planner.residue(before, &staying).await?;
        if complete {
            // CRDs without --crds, namespaces with objects of others: a later destroy has to know of them.
            let held = self.inventory.snapshot().await;
            let left: BTreeSet<ObjectRef> =
                report.found.iter().map(|left| left.object.clone()).filter(|left| held.names(left)).collect();
            if left.is_empty() {
                self.inventory.remove().await?;
            } else {
                self.inventory.keep_only(&left).await?;
                report.found.push(Residue::record(self.inventory.reference()));
            }
        }
        let checks = report.checks();
        let clean = checks.iter().all(|check| check.status == CheckStatus::Passed);
        for check in checks {
            self.events.send(Event::Checked { step: StepId::new(RESIDUE), check });
        }
        Ok(clean)
    }

    fn say(&self, context: &ActionContext, title: &str) {
        self.events.send(Event::ActionStarted {
            step: context.step.clone(),
            action: context.action.clone(),
            title: title.into(),
        });
    }

    fn skipped(&self, id: &StepId, reason: &str) {
        self.events.send(Event::StepFinished {
            step: id.clone(),
            outcome: StepOutcome::Skipped { reason: reason.into() },
            elapsed: Duration::ZERO,
            tally: Tally::default(),
        });
    }
}

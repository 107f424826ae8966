//! Which step may start when: a step starts when its own needs are done, not when a whole group is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::task::JoinSet;

use super::{Executor, RunResult, prune, step};
use crate::{
    event::{Event, RunOutcome, StepOutcome, Tally},
    ids::StepId,
    plan::{Planned, PlannedStep, prune::PRUNE},
    spec::{Outcome, Scope, Step, StepResult},
};

/// Everything about the steps while they run.
struct Board {
    scope: Scope,
    waiting: Vec<Step>,
    /// Steps planned before the run.
    planned: BTreeMap<StepId, PlannedStep>,
    /// Steps that wrote something, or may have: what comes after them is planned anew.
    touched: BTreeSet<StepId>,
    tally: Tally,
    failed: bool,
    /// A step failed that may fail.
    tolerated: bool,
}

/// What a finished step leaves behind.
pub(super) struct Finished {
    pub(super) step: StepId,
    pub(super) outcome: StepOutcome,
    pub(super) outputs: serde_json::Map<String, serde_json::Value>,
    pub(super) tally: Tally,
    pub(super) elapsed: std::time::Duration,
}

pub(super) async fn run(executor: Arc<Executor>, planned: Planned) -> RunResult {
    let pipeline = Arc::clone(executor.planner.pipeline());
    let mut board = Board {
        scope: pipeline.scope(),
        waiting: pipeline.steps.clone(),
        // Only what still holds is of use later; the rest is planned anew and need not be kept.
        planned: planned.steps.into_iter().filter(|(_, step)| !step.changes()).collect(),
        touched: BTreeSet::new(),
        tally: Tally::default(),
        failed: false,
        tolerated: false,
    };
    // Steps that are not selected count as never run; what they put out before is still known.
    let left_out: BTreeSet<StepId> = planned.unselected.keys().cloned().collect();
    for (id, outputs) in planned.unselected {
        board.waiting.retain(|waiting| waiting.id != id);
        skip(&executor, &id, "not selected");
        board.scope.steps.insert(id, StepResult { outputs, left_out: true, ..StepResult::default() });
    }
    let mut running = JoinSet::new();
    loop {
        if executor.cancel.is_cancelled() {
            for step in std::mem::take(&mut board.waiting) {
                skip(&executor, &step.id, "the run was stopped");
            }
        }
        while running.len() < pipeline.concurrency
            && let Some(step) = board.next(&left_out)
        {
            let ready = board.ready_made(&step);
            let scope = board.scope.clone();
            running.spawn(step::run(Arc::clone(&executor), step, scope, ready));
        }
        let Some(finished) = running.join_next().await else { break };
        let finished = finished.expect("a step's task does not panic; plugins run elsewhere");
        board.take(&executor, finished);
    }
    if !planned.prune.objects.is_empty() {
        if executor.cancel.is_cancelled() {
            skip(&executor, &StepId::new(PRUNE), "the run was stopped");
        } else if board.failed || board.tolerated {
            skip(&executor, &StepId::new(PRUNE), "a step failed");
        } else {
            board.take(&executor, prune::run(&executor, &planned.prune).await);
        }
    }
    let outcome = if executor.cancel.is_cancelled() {
        RunOutcome::Interrupted
    } else if board.failed {
        RunOutcome::Failed
    } else {
        RunOutcome::Succeeded
    };
    RunResult { outcome, tally: board.tally }
}

impl Board {
    /// Takes the next step whose needs are done.
    fn next(&mut self, left_out: &BTreeSet<StepId>) -> Option<Step> {
        let done = |need: &StepId| {
            left_out.contains(need)
                || self.scope.steps.get(need).is_some_and(|result| result.outcome.is_some())
        };
        let index = self.waiting.iter().position(|step| step.needs.iter().all(done))?;
        Some(self.waiting.remove(index))
    }

    /// The plan made before the run, if it still holds: nothing to do, and nothing done by the steps before.
    fn ready_made(&mut self, step: &Step) -> Option<PlannedStep> {
        let planned = self.planned.remove(&step.id)?;
        let untouched = step.ancestors.iter().all(|ancestor| !self.touched.contains(ancestor));
        untouched.then_some(planned)
    }

    fn take(&mut self, executor: &Executor, finished: Finished) {
        let Finished { step, outcome, outputs, tally, elapsed } = finished;
        self.tally.add(tally);
        if tally.wrote() {
            self.touched.insert(step.clone());
        }
        let (result, tolerated) = match &outcome {
            StepOutcome::Succeeded => (Outcome::Success, false),
            StepOutcome::Failed { tolerated, .. } => {
                self.failed |= !tolerated;
                self.tolerated |= tolerated;
                (Outcome::Failure, *tolerated)
            }
            StepOutcome::Skipped { .. } => (Outcome::Skipped, false),
            StepOutcome::Cancelled => (Outcome::Cancelled, false),
        };
        let outcome = match outcome {
            // The condition knows only that it is false; people want to know because of whom.
            StepOutcome::Skipped { reason } => {
                StepOutcome::Skipped { reason: self.why_skipped(executor, &step, reason) }
            }
            other => other,
        };
        self.scope
            .steps
            .insert(step.clone(), StepResult { outcome: Some(result), tolerated, outputs, left_out: false });
        executor.events.send(Event::StepFinished { step, outcome, elapsed, tally });
    }

    fn why_skipped(&self, executor: &Executor, step: &StepId, reason: String) -> String {
        let Some(step) = executor.planner.pipeline().step(step.as_str()) else { return reason };
        let because = |outcome: Outcome, what: &str| {
            step.ancestors
                .iter()
                .find(|id| self.scope.steps.get(*id).and_then(StepResult::conclusion) == Some(outcome))
                .map(|id| format!("needs {id}, which {what}"))
        };
        because(Outcome::Failure, "failed")
            .or_else(|| because(Outcome::Cancelled, "was stopped"))
            .unwrap_or(reason)
    }
}

fn skip(executor: &Executor, step: &StepId, reason: &str) {
    executor.events.send(Event::StepFinished {
        step: step.clone(),
        outcome: StepOutcome::Skipped { reason: reason.into() },
        elapsed: std::time::Duration::ZERO,
        tally: Tally::default(),
    });
}

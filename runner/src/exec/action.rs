//! The actions of one step, in the order that they ask for.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{
    StepError, apply::apply_objects, context::ActionContext, effects, release::apply_release, wait::wait_for,
};
use crate::{
    event::{ActionOutcome, Done, Event},
    plan::{
        MANAGER,
        model::{PlannedAction, Verb},
        work::{Work, WorkKind},
    },
};

/// Carries out a step's actions; independent ones side by side. After a failure nothing new is started.
pub(super) async fn run_all(
    step: &ActionContext,
    works: &[Work],
    actions: &[PlannedAction],
) -> Result<(), StepError> {
    let mut started = BTreeSet::new();
    let mut done = BTreeSet::new();
    let mut running = FuturesUnordered::new();
    let mut failure = None;
    loop {
        for (index, work) in works.iter().enumerate() {
            let may_start = failure.is_none()
                && !step.cancel.is_cancelled()
                && work.after.iter().all(|before| done.contains(before));
            if may_start && started.insert(index) {
                let action = &actions[index];
                running.push(async move { (index, run_one(step, work, action).await) });
            }
        }
        match running.next().await {
            Some((index, Ok(()))) => {
                done.insert(index);
            }
            Some((_, Err(error))) => failure = failure.or(Some(error)),
            None => break,
        }
    }
    match failure {
        Some(error) => Err(error),
        None if done.len() < works.len() => Err(StepError::Cancelled),
        None => Ok(()),
    }
}

async fn run_one(step: &ActionContext, work: &Work, action: &PlannedAction) -> Result<(), StepError> {
    let started = Instant::now();
    let limit = work.timeout_seconds.map(Duration::from_secs);
    let context = ActionContext {
        action: work.id.clone(),
        started,
        deadline: limit.map_or(step.deadline, |limit| step.deadline.min(started + limit)),
        ..step.clone()
    };
    context.events.send(Event::ActionStarted {
        step: context.step.clone(),
        action: work.id.clone(),
        title: work.title.clone(),
    });
    let result = carry_out(&context, work, action).await;
    let (outcome, result) = match result {
        Ok(()) => (ActionOutcome::Done, Ok(())),
        Err(StepError::Cancelled) => (ActionOutcome::Cancelled, Err(StepError::Cancelled)),
        Err(error) if work.optional => (ActionOutcome::Tolerated { error: error.problem() }, Ok(())),
        Err(error) => (ActionOutcome::Failed { error: error.problem() }, Err(error)),
    };
    context.events.send(Event::ActionFinished {
        step: context.step.clone(),
        action: work.id.clone(),
        outcome,
        elapsed: started.elapsed(),
    });
    result
}

async fn carry_out(context: &ActionContext, work: &Work, action: &PlannedAction) -> Result<(), StepError> {
    match &work.kind {
        WorkKind::Apply(objects) => apply_objects(context, objects, MANAGER, &action.changes).await,
        WorkKind::Release(release) => apply_release(context, release, &action.changes).await,
        WorkKind::Delete(delete) => effects::delete(context, delete).await,
        WorkKind::Wait(wait) => {
            wait_for(&context.cluster, &wait.conditions, context, context.deadline, &context.cancel)
                .await
                .map_err(|error| StepError::from_wait(error, "not ready", context.started.elapsed()))
        }
        WorkKind::Scale(scale) => effects::scale(context, scale).await,
        WorkKind::Label(label) => effects::label(context, label).await,
        WorkKind::Restart(restart) => effects::restart(context, restart).await,
        WorkKind::Probe(probe) => effects::probe(context, probe).await,
    }
}

/// Tells of the objects that are as they should be, and returns those that are not.
pub(super) fn without_unchanged<'a>(
    context: &ActionContext,
    objects: &'a [crate::cluster::Object],
    changes: &[crate::plan::model::Change],
) -> Vec<&'a crate::cluster::Object> {
    let mut left = Vec::new();
    for object in objects {
        let reference = object.reference();
        let unchanged =
            changes.iter().any(|change| change.object == reference && change.verb == Verb::Unchanged);
        if unchanged {
            context.object_done(reference, Done::Unchanged);
        } else {
            left.push(object);
        }
    }
    left
}

//! The end of a run: what left the pipeline is deleted, once everything else is as it should be.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Consent, Executor, StepError, context::ActionContext, remove::remove, scheduler::Finished};
use crate::{
    event::{Event, StepOutcome, Tally},
    ids::StepId,
    plan::prune::{PRUNE, Prune},
};

/// Time for all removals together.
const LIMIT: Duration = Duration::from_secs(300);

pub(super) async fn run(executor: &Executor, prune: &Prune) -> Finished {
    let started = Instant::now();
    let tally = Arc::new(Mutex::new(Tally::default()));
    let step = StepId::new(PRUNE);
    executor.events.send(Event::StepStarted { step: step.clone(), attempt: 1 });
    let context = ActionContext {
        cluster: executor.planner.cluster().clone(),
        step: step.clone(),
        action: "delete".into(),
        events: executor.events.clone(),
        tally: tally.clone(),
        started,
        deadline: started + LIMIT,
        cancel: executor.cancel.clone(),
        consent: Consent::Everything,
    };
    let outcome = match removal(executor, &context, prune).await {
        Ok(()) => StepOutcome::Succeeded,
        Err(StepError::Cancelled) => StepOutcome::Cancelled,
        Err(error) => StepOutcome::Failed { error: error.problem(), tolerated: false },
    };
    let tally = *tally.lock().unwrap_or_else(PoisonError::into_inner);
    Finished { step, outcome, outputs: serde_json::Map::new(), tally, elapsed: started.elapsed() }
}

async fn removal(executor: &Executor, context: &ActionContext, prune: &Prune) -> Result<(), StepError> {
    context.events.send(Event::ActionStarted {
        step: context.step.clone(),
        action: context.action.clone(),
        title: "delete what left the pipeline".into(),
    });
    let Some(inventory) = &executor.inventory else { return Ok(()) };
    let prune = prune.without(&inventory.recorded().await);
    remove(context, &prune.objects).await?;
    let pipeline = executor.planner.pipeline();
    let gone = prune.objects.union(&prune.gone).cloned().collect();
    let releases = prune.releases.into_keys().collect();
    Ok(inventory.forget_pruned(&gone, &releases, |step| pipeline.step(step.as_str()).is_some()).await?)
}

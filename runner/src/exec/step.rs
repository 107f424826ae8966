//! One step: planned anew where needed, its actions carried out, its outputs read, its checks made; again on failure.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use meshrun_protocol::{CheckRequest, CheckStatus, ObjectRef};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{Executor, StepError, action, context::ActionContext, scheduler::Finished};
use crate::{
    event::{Event, StepOutcome, Tally},
    plan::{Outlook, PlannedStep, ReadOnly},
    plugin::Limits,
    spec::{Scope, Step},
};

/// Time in which a check that fails may still come true: controllers follow what was rolled out a little later.
const SETTLES: Duration = Duration::from_secs(10);
/// Pause before checks are made again.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How one attempt ended well.
enum Attempt {
    Done(Map<String, Value>),
    Skipped,
}

pub(super) async fn run(
    executor: Arc<Executor>,
    step: Step,
    scope: Scope,
    ready: Option<PlannedStep>,
) -> Finished {
    let started = Instant::now();
    let tally = Arc::new(Mutex::new(Tally::default()));
    let (outcome, outputs) = attempts(&executor, &step, &scope, ready, &tally).await;
    let tally = *tally.lock().unwrap_or_else(PoisonError::into_inner);
    Finished { step: step.id, outcome, outputs, tally, elapsed: started.elapsed() }
}

async fn attempts(
    executor: &Executor,
    step: &Step,
    scope: &Scope,
    mut ready: Option<PlannedStep>,
    tally: &Arc<Mutex<Tally>>,
) -> (StepOutcome, Map<String, Value>) {
    let mut backoff = step.retry.backoff;
    for attempt in 1.. {
        executor.events.send(Event::StepStarted { step: step.id.clone(), attempt });
        let error = match once(executor, step, scope, ready.take(), tally).await {
            Ok(Attempt::Done(outputs)) => return (StepOutcome::Succeeded, outputs),
            Ok(Attempt::Skipped) => {
                let condition = step.condition.as_deref().unwrap_or("success()");
                return (StepOutcome::Skipped { reason: format!("`if: {condition}` is false") }, Map::new());
            }
            Err(StepError::Cancelled) => return (StepOutcome::Cancelled, Map::new()),
            Err(error) => error,
        };
        if executor.cancel.is_cancelled() {
            return (StepOutcome::Cancelled, Map::new());
        }
        if attempt >= step.retry.attempts || !error.retryable() {
            let outcome = StepOutcome::Failed { error: error.problem(), tolerated: step.continue_on_error };
            return (outcome, Map::new());
        }
        let wait = jittered(backoff);
        executor.events.send(Event::StepRetrying {
            step: step.id.clone(),
            attempt,
            attempts: step.retry.attempts,
            backoff: wait,
            error: error.problem(),
        });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = executor.cancel.cancelled() => return (StepOutcome::Cancelled, Map::new()),
        }
        backoff = (backoff * 2).min(step.retry.max_backoff);
    }
    unreachable!("the loop ends by returning")
}

async fn once(
    executor: &Executor,
    step: &Step,
    scope: &Scope,
    ready: Option<PlannedStep>,
    tally: &Arc<Mutex<Tally>>,
) -> Result<Attempt, StepError> {
    let started = Instant::now();
    let context = ActionContext {
        cluster: executor.planner.cluster().clone(),
        step: step.id.clone(),
        action: String::new(),
        events: executor.events.clone(),
        tally: tally.clone(),
        started,
        deadline: started + step.timeout,
        cancel: executor.cancel.clone(),
        consent: executor.consent.clone(),
    };
    let mut planned = match ready {
        Some(planned) => planned,
        None => match executor.planner.plan_step(step, scope).await? {
            Outlook::Planned(planned) => *planned,
            Outlook::Skipped => return Ok(Attempt::Skipped),
            Outlook::KnownAfter(other) => {
                return Err(StepError::Never(format!(
                    "its configuration needs outputs of step `{other}`, which has none"
                )));
            }
        },
    };
    for diagnostic in &planned.plan.diagnostics {
        let place = step.place_of(&diagnostic.path);
        executor.events.send(Event::Diagnosed {
            step: Some(step.id.clone()),
            diagnostic: diagnostic.clone(),
            place: Some(format!("{}:{}:{}", place.file, place.line, place.column)),
        });
    }
    if planned.changes() && !executor.may_write {
        return Err(StepError::Never(
            "the cluster has changed since this run found nothing to do; run it again".into(),
        ));
    }
    if let Some(inventory) = executor.inventory.as_ref().filter(|_| executor.may_write) {
        let (pipeline, entry) = (executor.planner.pipeline(), planned.entry(step));
        // A step that only looks has nothing that could be taken away.
        if planned.changes() || !entry.is_empty() {
            inventory.record(&step.id, entry, |id| pipeline.step(id.as_str()).is_some()).await?;
        }
    }
    action::run_all(&context, &planned.works, &planned.plan.actions).await?;
    let deleted: BTreeSet<ObjectRef> = planned.deleted().cloned().collect();
    if !deleted.is_empty()
        && let Some(inventory) = &executor.inventory
    {
        inventory.forget(&deleted).await?;
    }
    let outputs = executor.planner.known_outputs(&planned.outputs).await?;
    checks(executor, step, &mut planned).await?;
    Ok(Attempt::Done(outputs))
}

async fn checks(executor: &Executor, step: &Step, planned: &mut PlannedStep) -> Result<(), StepError> {
    let cluster = executor.planner.cluster();
    let request = CheckRequest {
        step: step.id.as_str().to_owned(),
        config: planned.with.clone(),
        cluster: cluster.info(),
    };
    let services = ReadOnly::new(cluster.clone(), step.id.clone());
    let limits = Limits { cancel: executor.cancel.clone(), ..Limits::default() };
    let settled = Instant::now() + if request.cluster.rehearsal { Duration::ZERO } else { SETTLES };
    let response = loop {
        let response = planned.session.check(&request, &services, &limits).await;
        let response = response.map_err(crate::plan::PlanError::from)?;
        let failed = response.checks.iter().find(|check| check.status == CheckStatus::Failed);
        let Some(failed) = failed.filter(|_| Instant::now() + CHECK_EVERY < settled) else { break response };
        executor.events.send(Event::Waiting {
            step: step.id.clone(),
            action: "checks".into(),
            reason: format!("{}: {}", failed.title, failed.evidence),
        });
        tokio::select! {
            () = tokio::time::sleep(CHECK_EVERY) => {}
            () = executor.cancel.cancelled() => break response,
        }
    };
    let all = response.checks.len();
    let mut failed = Vec::new();
    for check in response.checks {
        if check.status == CheckStatus::Failed {
            failed.push(check.clone());
        }
        executor.events.send(Event::Checked { step: step.id.clone(), check });
    }
    match failed.first() {
        None => Ok(()),
        Some(first) => Err(StepError::Checks {
            failed: failed.len(),
            all,
            first: format!("{}: {}", first.title, first.evidence),
            hint: first.hint.clone(),
        }),
    }
}

/// Up to a quarter more, so that runs that failed together do not come back together.
fn jittered(backoff: Duration) -> Duration {
    backoff.mul_f64(1.0 + rand::random::<f64>() / 4.0)
}

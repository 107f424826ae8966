//! `meshrun run`: plan, ask where something would be deleted, lock, carry out, report.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{
    AppError, consent, plan_file,
    reporting::{Reporting, style},
    setup::{connect, helm, prepare, select},
};
use crate::{
    cli::{GlobalArgs, ReportArgs, RunArgs},
    event::{Event, RunOutcome, StepInfo},
    exec::{Consent, Events, Executor, WeakEvents},
    exit_code::ExitCode,
    ids::StepId,
    plan::{Planned, Planner, Selection, prune::PRUNE},
    spec::Pipeline,
    state::{
        inventory::{InventoryStore, LastRun},
        lock::{Lock, Loss, holder_name},
    },
};

/// How long the end of a run waits for its lock to be given back: nobody can stop it then.
const RELEASE: Duration = Duration::from_secs(10);

pub(super) async fn run(global: &GlobalArgs, args: RunArgs) -> Result<ExitCode, AppError> {
    let started = Instant::now();
    let prepared = prepare(global, &args.pipeline).await?;
    let selection = select(&args.selection, &prepared.pipeline)?;
    let cluster = connect(&args.cluster, &prepared.pipeline).await?;
    let helm = Arc::new(helm(global, &prepared.pipeline, prepared.lock));
    let planner = Planner::new(prepared.pipeline.clone(), prepared.plugins, cluster.clone(), helm)
        .allow_skip(args.allow_skip);
    let namespace = prepared.pipeline.state.namespace.clone();
    let inventory = InventoryStore::load(cluster.clone(), &namespace, &prepared.pipeline.name).await?;
    let planned = plan(&planner, &selection, &inventory, args.plan.as_deref()).await?;
    let consent = consent::ask_for(&planned.plan, args.yes, &style(global, false))?;

    let cancel = CancellationToken::new();
    // Nothing to write: nothing to lock, and a repeated run leaves no trace.
    let held = inventory.snapshot().await;
    if !planned.plan.counts().any() && planned.recorded(&held, &prepared.pipeline) == held {
        if let Err(error) = Lock::clear(cluster, &namespace, &prepared.pipeline.name).await {
            tracing::debug!(%error, "a lock that a dead run may have left stays until it expires");
        }
        let inventory = Some(Arc::new(inventory));
        let lost = Loss::default();
        let rest = Rest { inventory, consent, may_write: false, cancel, lost, started };
        return carry_out(global, &args.report, planner, planned, rest).await;
    }
    let name = &prepared.pipeline.name;
    let lock = Lock::acquire(cluster.clone(), &namespace, name, args.wait_lock.map(Into::into)).await?;
    stop_when_lost(&lock, &cancel);
    let locked = async {
        let now = InventoryStore::load(cluster, &namespace, name).await?;
        let (planned, consent) = if now.snapshot().await == held {
            (planned, consent)
        } else {
            // Another run has ended since: what was planned before it, and agreed to, holds no more.
            let planned = plan(&planner, &selection, &now, args.plan.as_deref()).await?;
            let consent = consent::ask_for(&planned.plan, args.yes, &style(global, false))?;
            (planned, consent)
        };
        begin(&now).await?;
        let (inventory, lost) = (Some(Arc::new(now)), lock.lost());
        let rest = Rest { inventory, consent, may_write: true, cancel, lost, started };
        carry_out(global, &args.report, planner, planned, rest).await
    };
    let result = locked.await;
    release(lock).await;
    result
}

/// Plans the run, and refuses where another plan was asked for.
async fn plan(
    planner: &Planner,
    selection: &Selection,
    inventory: &InventoryStore,
    file: Option<&Path>,
) -> Result<Planned, AppError> {
    let planned = planner
        .plan_all(selection, &inventory.snapshot().await)
        .await
        .map_err(|(step, error)| AppError::of_step(planner.pipeline(), &step, error))?;
    if let Some(file) = file {
        plan_file::hold_to(file, &planned.plan, &planner.inputs(&planned))?;
    }
    Ok(planned)
}

/// Gives a lock back; one that cannot be given back in time expires by itself.
pub(super) async fn release(lock: Lock) {
    let problem = match tokio::time::timeout(RELEASE, lock.release()).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", RELEASE.as_secs()),
    };
    tracing::warn!("the lock could not be released, it expires by itself: {problem}");
}

/// A run that lost its lock was not stopped by anybody who wanted that: it failed.
pub(super) fn unless_lost(lost: &Loss, outcome: RunOutcome) -> RunOutcome {
    lost.reason().map_or(outcome, |_| RunOutcome::Failed)
}

/// Says why the lock was lost, after the report has said how far the run came.
pub(super) fn held_to_the_end(lost: &Loss) -> Result<(), AppError> {
    let Some(reason) = lost.reason() else { return Ok(()) };
    Err(AppError::new(ExitCode::Failed, format!("the lock was lost: {reason}"))
        .hint("run again: what was done is found as it is, and the rest follows"))
}

/// Leaves word of who is about to change something.
pub(super) async fn begin(inventory: &InventoryStore) -> crate::cluster::Result<()> {
    let run = LastRun {
        by: holder_name(),
        at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        meshrun: env!("CARGO_PKG_VERSION").into(),
    };
    inventory.begin(run).await
}

/// What else a run needs.
pub(super) struct Rest {
    pub(super) inventory: Option<Arc<InventoryStore>>,
    pub(super) consent: Consent,
    pub(super) may_write: bool,
    pub(super) cancel: CancellationToken,
    pub(super) lost: Loss,
    pub(super) started: Instant,
}

/// Runs what is planned and reports it.
pub(super) async fn carry_out(
    global: &GlobalArgs,
    args: &ReportArgs,
    planner: Planner,
    planned: Planned,
    rest: Rest,
) -> Result<ExitCode, AppError> {
    let reporting = Reporting::start(global, args, rest.started)?;
    let events = reporting.events();
    tell_start(&events, planner.pipeline(), &planned);
    stop_on_signal(events.weak(), rest.cancel.clone());
    let executor = Executor {
        planner,
        events: events.clone(),
        inventory: rest.inventory,
        consent: rest.consent,
        may_write: rest.may_write,
        cancel: rest.cancel,
    };
    let result = executor.run(planned).await;
    let outcome = unless_lost(&rest.lost, result.outcome);
    events.send(Event::RunFinished { outcome, elapsed: rest.started.elapsed(), tally: result.tally });
    drop(events);
    reporting.finish().await?;
    held_to_the_end(&rest.lost)?;
    Ok(match outcome {
        RunOutcome::Succeeded => ExitCode::Success,
        RunOutcome::Failed => ExitCode::Failed,
        RunOutcome::Interrupted => ExitCode::Interrupted,
    })
}

fn tell_start(events: &Events, pipeline: &Pipeline, planned: &Planned) {
    events.send(Event::RunStarted {
        pipeline: pipeline.name.clone(),
        file: pipeline.path.display().to_string(),
        cluster: planned.plan.cluster.clone(),
        steps: with_prune(infos(pipeline), planned),
    });
    for finding in &pipeline.warnings {
        let place = finding.place.as_ref();
        events.send(Event::Diagnosed {
            step: None,
            diagnostic: finding.to_diagnostic(),
            place: place.map(|place| format!("{}:{}:{}", place.file, place.line, place.column)),
        });
    }
    // What is known to be doubtful is told before anything is done; each step finds it again when it runs.
    for planned in &planned.plan.steps {
        let Some(step) = pipeline.step(planned.id.as_str()) else {
            // Of what left the pipeline: no step and no place of the file is to blame.
            for diagnostic in planned.diagnostics.iter().cloned() {
                events.send(Event::Diagnosed { step: None, diagnostic, place: None });
            }
            continue;
        };
        for diagnostic in &planned.diagnostics {
            let place = step.place_of(&diagnostic.path);
            events.send(Event::Diagnosed {
                step: Some(step.id.clone()),
                diagnostic: diagnostic.clone(),
                place: Some(format!("{}:{}:{}", place.file, place.line, place.column)),
            });
        }
    }
}

fn with_prune(mut steps: Vec<StepInfo>, planned: &Planned) -> Vec<StepInfo> {
    if !planned.prune.objects.is_empty() {
        let needs = steps.iter().map(|step| step.id.clone()).collect();
        steps.push(StepInfo { id: StepId::new(PRUNE), uses: "meshrun".into(), needs });
    }
    steps
}

/// The steps as reporters need them.
pub(super) fn infos(pipeline: &Pipeline) -> Vec<StepInfo> {
    pipeline
        .steps
        .iter()
        .map(|step| StepInfo { id: step.id.clone(), uses: step.uses.clone(), needs: step.needs.clone() })
        .collect()
}

/// The first Ctrl-C or SIGTERM stops the run cleanly, the second ends it at once.
pub(super) fn stop_on_signal(events: WeakEvents, cancel: CancellationToken) {
    tokio::spawn(async move {
        let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(terminate) => terminate,
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be caught");
                return;
            }
        };
        let mut times = 0;
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            times += 1;
            if times > 1 {
                std::process::exit(i32::from(ExitCode::Interrupted as u8));
            }
            events.send(Event::Interrupted);
            cancel.cancel();
        }
    });
}

pub(super) fn stop_when_lost(lock: &Lock, cancel: &CancellationToken) {
    let (lost, cancel) = (lock.lost(), cancel.clone());
    tokio::spawn(async move {
        let reason = lost.happened().await;
        tracing::error!("the lock was lost, the run stops: {reason}");
        cancel.cancel();
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{
        flaky::{Fate, Flaky},
        rehearsal::Rehearsal,
    };

    /// Takes a lock in a cluster that does not answer a method at all.
    async fn lock_where_silent(silent: &'static str) -> Lock {
        let cluster = Flaky::new(Rehearsal::default(), move |method, _| match method == silent {
            true => Fate::Silent,
            false => Fate::Answered,
        });
        Lock::acquire(Arc::new(cluster), "default", "prod", None).await.expect("it is free")
    }

    #[tokio::test(start_paused = true)]
    async fn release_ends_although_the_cluster_does_not_answer() {
        let lock = lock_where_silent("delete").await;
        let began = tokio::time::Instant::now();
        tokio::time::timeout(Duration::from_secs(60), release(lock)).await.expect("it ends");
        assert_eq!(began.elapsed(), RELEASE);
    }

    #[tokio::test(start_paused = true)]
    async fn run_that_lost_its_lock_has_failed_and_says_why() {
        let lock = lock_where_silent("patch").await;
        let lost = lock.lost();
        assert_eq!(unless_lost(&lost, RunOutcome::Interrupted), RunOutcome::Interrupted);
        assert_eq!(held_to_the_end(&lost), Ok(()));

        let cancel = CancellationToken::new();
        stop_when_lost(&lock, &cancel);
        cancel.cancelled().await;
        assert_eq!(unless_lost(&lost, RunOutcome::Interrupted), RunOutcome::Failed);
        let error = held_to_the_end(&lost).expect_err("it is lost");
        assert_eq!(error.code, ExitCode::Failed);
        assert_eq!(
            error.message,
            "the lock was lost: it could not be renewed in time: the cluster does not answer"
        );
    }
}

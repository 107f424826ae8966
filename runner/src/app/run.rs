//! `meshrun run`: plan, ask where something would be deleted, lock, carry out, report.

use std::{io::IsTerminal, sync::Arc, time::Instant};

use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    AppError,
    setup::{connect, helm, prepare, select},
};
use crate::{
    cli::{GlobalArgs, ReportArgs, RunArgs},
    event::{Event, RunOutcome, StepInfo},
    exec::{Events, Executor},
    exit_code::ExitCode,
    ids::StepId,
    plan::{
        Planned, Planner,
        model::{Change, Verb},
        prune::PRUNE,
    },
    report::{self, Options, Surroundings},
    spec::Pipeline,
    state::{
        inventory::{InventoryStore, LastRun},
        lock::{Lock, holder_name},
    },
};

pub(super) async fn run(global: &GlobalArgs, args: RunArgs) -> Result<ExitCode, AppError> {
    let started = Instant::now();
    let prepared = prepare(global, &args.pipeline).await?;
    let selection = select(&args.selection, &prepared.pipeline)?;
    let cluster = connect(&args.cluster, &prepared.pipeline).await?;
    let helm = Arc::new(helm(global, &prepared.pipeline, prepared.lock));
    let planner = Planner::new(prepared.pipeline.clone(), prepared.plugins, cluster.clone(), helm);
    let namespace = prepared.pipeline.state.namespace.clone();
    let inventory = InventoryStore::load(cluster.clone(), &namespace, &prepared.pipeline.name).await?;
    let planned = planner
        .plan_all(&selection, &inventory.snapshot().await)
        .await
        .map_err(|(step, error)| AppError::of_step(&step, error))?;
    let may_replace = consent(&planned, args.yes)?;

    let cancel = CancellationToken::new();
    // Nothing to write: nothing to lock, and a repeated run leaves no trace.
    let lock = match planned.plan.counts().any() {
        true => Some(Lock::acquire(cluster.clone(), &namespace, &prepared.pipeline.name).await?),
        false => None,
    };
    let rest = Rest { inventory: Some(Arc::new(inventory)), may_replace, cancel, started };
    let result = match &lock {
        Some(lock) => {
            stop_when_lost(lock, &rest.cancel);
            begin(&rest).await.map_err(AppError::from)
        }
        None => Ok(()),
    };
    let result = match result {
        Ok(()) => carry_out(global, &args.report, planner, planned, rest).await,
        Err(error) => Err(error),
    };
    if let Some(lock) = lock
        && let Err(error) = lock.release().await
    {
        tracing::warn!(%error, "the lock could not be released; it expires by itself");
    }
    result
}

/// Leaves word of who is about to change something.
async fn begin(rest: &Rest) -> crate::cluster::Result<()> {
    let Some(inventory) = &rest.inventory else { return Ok(()) };
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
    pub(super) may_replace: bool,
    pub(super) cancel: CancellationToken,
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
    let options = Options {
        format: args.report,
        color: global.color,
        verbose: args.verbose,
        junit: args.junit.clone(),
        surroundings: Surroundings::detect(),
    };
    let mut reporters = report::build(&options)?;
    let (sender, receiver) = mpsc::unbounded_channel();
    let events = Events::new(sender);
    let started = rest.started;
    let reporting = tokio::spawn(async move { report::follow(receiver, &mut reporters, started).await });

    tell_start(&events, planner.pipeline(), &planned);
    let signals = stop_on_signal(events.clone(), rest.cancel.clone());
    let executor = Executor {
        planner,
        events: events.clone(),
        inventory: rest.inventory,
        may_replace: rest.may_replace,
        cancel: rest.cancel,
    };
    let result = executor.run(planned).await;
    signals.abort();
    events.send(Event::RunFinished {
        outcome: result.outcome,
        elapsed: rest.started.elapsed(),
        tally: result.tally,
    });
    // The last sender goes: the report ends.
    drop(events);
    reporting.await.map_err(|error| AppError::internal(format!("the report failed: {error}")))??;
    Ok(match result.outcome {
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
        let Some(step) = pipeline.step(planned.id.as_str()) else { continue };
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

/// Asks before anything is deleted or replaced. Returns whether replacements are allowed.
fn consent(planned: &Planned, yes: bool) -> Result<bool, AppError> {
    let doomed: Vec<&Change> = planned
        .plan
        .steps
        .iter()
        .flat_map(|step| &step.actions)
        .flat_map(|action| &action.changes)
        .filter(|change| matches!(change.verb, Verb::Delete | Verb::Replace))
        .collect();
    if yes || doomed.is_empty() {
        return Ok(yes);
    }
    let list: Vec<String> = doomed
        .iter()
        .map(|change| {
            let verb = if change.verb == Verb::Delete { "delete" } else { "replace" };
            format!("  {verb} {}", change.object)
        })
        .collect();
    let refused = |message: String, hint: &str| Err(AppError::new(ExitCode::Refused, message).hint(hint));
    if !std::io::stdin().is_terminal() {
        let message = format!("this run would\n{}\nand there is no terminal to ask on", list.join("\n"));
        return refused(message, "look at `meshrun plan`, then run with --yes");
    }
    report::print(&format!("This run would\n{}", list.join("\n")))?;
    if report::ask("Go on? Only `yes` is a yes: ")? == "yes" {
        return Ok(true);
    }
    refused("nothing was changed: the answer was not `yes`".into(), "leave the step out, or run with --yes")
}

/// The first Ctrl-C or SIGTERM stops the run cleanly, the second ends it at once.
fn stop_on_signal(events: Events, cancel: CancellationToken) -> JoinHandle<()> {
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
    })
}

fn stop_when_lost(lock: &Lock, cancel: &CancellationToken) {
    let (lost, cancel) = (lock.lost(), cancel.clone());
    tokio::spawn(async move {
        lost.cancelled().await;
        tracing::error!("the lock was lost: the run stops");
        cancel.cancel();
    });
}

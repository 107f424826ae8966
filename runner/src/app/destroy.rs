//! `meshrun destroy`: everything that the pipeline made goes, in the right order, with a look for what is left.

use std::{path::PathBuf, sync::Arc, time::Instant};

use tokio_util::sync::CancellationToken;

use super::{
    AppError, consent,
    reporting::{Reporting, style},
    setup::{connect, helm, prepare},
};
use crate::{
    cli::{DestroyArgs, GlobalArgs, PlanFormat},
    cluster::Object,
    event::{Event, RunOutcome, StepInfo},
    exec::{
        Events,
        destroy::{Destroyer, RESIDUE},
    },
    exit_code::ExitCode,
    ids::StepId,
    plan::{Planner, destroy::DestroyPlan, render},
    report,
    state::{
        inventory::InventoryStore,
        lock::{Lock, Loss},
    },
};

pub(super) async fn run(global: &GlobalArgs, args: DestroyArgs) -> Result<ExitCode, AppError> {
    let started = Instant::now();
    let prepared = prepare(global, &args.pipeline).await?;
    let pipeline = prepared.pipeline.clone();
    let cluster = connect(&args.cluster, &pipeline).await?;
    let helm = Arc::new(helm(global, &pipeline, prepared.lock));
    let planner = Planner::new(pipeline.clone(), prepared.plugins, cluster.clone(), helm);
    let namespace = pipeline.state.namespace.clone();
    let held = InventoryStore::load(cluster.clone(), &namespace, &pipeline.name).await?.snapshot().await;
    if held.steps.is_empty() {
        report::print(&format!("Pipeline {} has made nothing in this cluster.", pipeline.name))?;
        return Ok(ExitCode::Success);
    }
    let destroy = planner.plan_destroy(&held, args.crds).await?;
    if args.dry_run {
        return show(global, &args, &destroy);
    }
    consent::ask_for(&destroy.plan, args.yes, &style(global, false))?;
    let name = &pipeline.name;
    let lock = Lock::acquire(cluster.clone(), &namespace, name, args.wait_lock.map(Into::into)).await?;
    let cancel = CancellationToken::new();
    super::run::stop_when_lost(&lock, &cancel);
    let locked = async {
        let now = InventoryStore::load(cluster, &namespace, name).await?;
        let destroy = if now.snapshot().await == held {
            destroy
        } else {
            // A run has ended since: what it made goes too, and needs a yes of its own.
            let destroy = planner.plan_destroy(&now.snapshot().await, args.crds).await?;
            consent::ask_for(&destroy.plan, args.yes, &style(global, false))?;
            destroy
        };
        super::run::begin(&now).await?;
        carry_out(global, &args, planner, destroy, Arc::new(now), (cancel, lock.lost()), started).await
    };
    let result = locked.await;
    super::run::release(lock).await;
    result
}

fn show(global: &GlobalArgs, args: &DestroyArgs, destroy: &DestroyPlan) -> Result<ExitCode, AppError> {
    let text = match args.output {
        PlanFormat::Text => render::text(&destroy.plan, &style(global, false)),
        PlanFormat::Json => render::json(&destroy.plan),
        PlanFormat::Markdown => render::markdown(&destroy.plan),
    };
    report::print(&text)?;
    Ok(ExitCode::Success)
}

async fn carry_out(
    global: &GlobalArgs,
    args: &DestroyArgs,
    planner: Planner,
    destroy: DestroyPlan,
    inventory: Arc<InventoryStore>,
    (cancel, lost): (CancellationToken, Loss),
    started: Instant,
) -> Result<ExitCode, AppError> {
    let held = inventory.snapshot().await;
    let objects = if args.no_backup { Vec::new() } else { planner.to_back_up(&destroy, &held).await? };
    if let Some(file) = back_up(args, &planner, &objects)? {
        report::print_note(&format!(
            "{} custom objects are backed up in {}; `kubectl apply -f` brings them back",
            objects.len(),
            file.display()
        ));
    }
    let reporting = Reporting::start(global, &args.report, started)?;
    let events: Events = reporting.events();
    let mut steps: Vec<StepInfo> = destroy
        .plan
        .steps
        .iter()
        .map(|step| StepInfo { id: step.id.clone(), uses: step.uses.clone(), needs: Vec::new() })
        .collect();
    steps.push(StepInfo { id: StepId::new(RESIDUE), uses: "meshrun".into(), needs: Vec::new() });
    events.send(Event::RunStarted {
        pipeline: format!("destroy {}", destroy.plan.pipeline),
        file: planner.pipeline().path.display().to_string(),
        cluster: destroy.plan.cluster.clone(),
        steps,
    });
    for step in &destroy.plan.steps {
        for diagnostic in &step.diagnostics {
            let (step, diagnostic) = (Some(step.id.clone()), diagnostic.clone());
            events.send(Event::Diagnosed { step, diagnostic, place: None });
        }
    }
    super::run::stop_on_signal(events.weak(), cancel.clone());
    let destroyer = Destroyer { planner, events: events.clone(), inventory, cancel };
    let result = destroyer.run(destroy).await;
    let (outcome, tally) = (super::run::unless_lost(&lost, result.run.outcome), result.run.tally);
    events.send(Event::RunFinished { outcome, elapsed: started.elapsed(), tally });
    drop(events);
    reporting.finish().await?;
    super::run::held_to_the_end(&lost)?;
    Ok(match outcome {
        RunOutcome::Interrupted => ExitCode::Interrupted,
        RunOutcome::Failed => ExitCode::Failed,
        RunOutcome::Succeeded if result.clean => ExitCode::Success,
        RunOutcome::Succeeded => ExitCode::Residue,
    })
}

/// Writes people's own objects to a file that `kubectl apply -f` takes; `None` where there are none.
fn back_up(args: &DestroyArgs, planner: &Planner, objects: &[Object]) -> Result<Option<PathBuf>, AppError> {
    if objects.is_empty() {
        return Ok(None);
    }
    let file = args.backup.clone().unwrap_or_else(|| {
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        PathBuf::from(format!("meshrun-backup-{}-{now}.json", planner.pipeline().name))
    });
    let items: Vec<_> = objects.iter().cloned().map(bare).collect();
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items });
    let text = serde_json::to_vec_pretty(&list).map_err(|error| AppError::internal(error.to_string()))?;
    fs_err::write(&file, text).map_err(|error| {
        AppError::new(ExitCode::BadInput, format!("back up your objects: {error}"))
            .hint("nothing was removed; name another file with --backup, or do without with --no-backup")
    })?;
    Ok(Some(file))
}

/// An object without what only the server it came from can know.
fn bare(object: Object) -> serde_json::Value {
    let mut value = object.into_json();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = value["metadata"].as_object_mut() {
        for name in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
            metadata.remove(name);
        }
    }
    value
}

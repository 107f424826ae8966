//! `meshrun status`: what a pipeline has made, in what state it is, who is at work on it, and whether it has drifted.

use std::sync::Arc;

use serde::Serialize;

use super::{
    AppError,
    reporting::style,
    setup::{connect, helm, prepare},
};
use crate::{
    cli::{GlobalArgs, StatusArgs, StatusFormat},
    exit_code::ExitCode,
    plan::{Planner, Selection, status::StepStatus},
    report,
    state::{
        inventory::{InventoryStore, LastRun},
        lock::{Holder, Lock},
    },
    text::{Style, Tone},
};

/// What `status` says.
#[derive(Debug, Serialize)]
struct Status {
    pipeline: String,
    cluster: String,
    /// The run that changed something last.
    last_run: Option<LastRun>,
    /// Who is at work now.
    lock: Option<Holder>,
    steps: Vec<StepStatus>,
    /// Objects that are not as the pipeline says; `null` where that could not be found out, with the reason below.
    drift: Option<Vec<String>>,
    /// Why drift could not be found out.
    drift_unknown: Option<String>,
}

pub(super) async fn run(global: &GlobalArgs, args: StatusArgs) -> Result<ExitCode, AppError> {
    let prepared = prepare(global, &args.pipeline).await?;
    let pipeline = prepared.pipeline.clone();
    let cluster = connect(&args.cluster, &pipeline).await?;
    let helm = Arc::new(helm(global, &pipeline, prepared.lock));
    let planner = Planner::new(pipeline.clone(), prepared.plugins, cluster.clone(), helm);
    let namespace = &pipeline.state.namespace;
    let inventory = InventoryStore::load(cluster.clone(), namespace, &pipeline.name).await?.snapshot().await;
    let lock = Lock::holder(cluster.as_ref(), namespace, &pipeline.name).await?;
    let steps = planner.status(&inventory).await?;
    let (drift, drift_unknown) = match planner.plan_all(&Selection::default(), &inventory).await {
        Ok(planned) => (Some(planned.plan.changed_objects()), None),
        Err((step, error)) => (None, Some(format!("step {step} cannot be planned: {error}"))),
    };
    let (pipeline, cluster, last_run) = (pipeline.name.clone(), cluster.name(), inventory.last_run);
    let status = Status { pipeline, cluster, last_run, lock, steps, drift, drift_unknown };
    let drifted = status.drift.as_ref().is_none_or(|drift| !drift.is_empty());
    let text = match args.output {
        StatusFormat::Json => {
            serde_json::to_string_pretty(&status).map_err(|error| AppError::internal(error.to_string()))?
        }
        StatusFormat::Text => text(&status, &style(global, false)),
    };
    report::print(&text)?;
    Ok(if args.detailed_exitcode && drifted { ExitCode::Changes } else { ExitCode::Success })
}

fn text(status: &Status, style: &Style) -> String {
    let mut out = format!("{} on {}\n", style.paint(Tone::Name, &status.pipeline), status.cluster);
    match &status.last_run {
        Some(run) => {
            out.push_str(&format!("last changed {} by {} with meshrun {}\n", run.at, run.by, run.meshrun));
        }
        None => out.push_str("never run here\n"),
    }
    if let Some(holder) = &status.lock {
        let (name, since) = (&holder.name, &holder.since);
        let line =
            format!("locked by {name} since {since}; expires in {} s unless renewed", holder.expires_in);
        out.push_str(&format!("{}\n", style.paint(Tone::Warn, line)));
    }
    let width = status.steps.iter().map(|step| step.step.as_str().len()).max().unwrap_or_default();
    for step in &status.steps {
        out.push_str(&format!("\n{:width$}  {} objects", step.step, step.objects));
        if !step.missing.is_empty() {
            let missing = format!(", {} missing: {}", step.missing.len(), step.missing.join(", "));
            out.push_str(&style.paint(Tone::Bad, missing));
        }
        for release in &step.releases {
            out.push_str(&format!(
                "\n{:width$}  release {} revision {} {}: chart {}, app {}, {}",
                "",
                release.name,
                release.revision,
                release.status,
                release.chart,
                release.app_version,
                release.updated
            ));
        }
    }
    match (&status.drift, &status.drift_unknown) {
        (Some(drift), _) if drift.is_empty() => {
            out.push_str(&format!(
                "\n\n{}",
                style.paint(Tone::Good, "No drift: the cluster is as the pipeline says.")
            ));
        }
        (Some(drift), _) => {
            let line = format!("Drift: {} objects are not as the pipeline says", drift.len());
            out.push_str(&format!("\n\n{}", style.paint(Tone::Warn, line)));
            for object in drift {
                out.push_str(&format!("\n  {object}"));
            }
            out.push_str("\n`meshrun plan` shows the fields, `meshrun run` repairs them.");
        }
        (None, Some(why)) => out.push_str(&format!("\n\nDrift is not known: {why}")),
        (None, None) => {}
    }
    out
}

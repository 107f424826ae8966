//! `meshrun plan`: what a run would change.

use std::sync::Arc;

use super::{
    AppError, plan_file,
    reporting::style,
    setup::{connect, helm, prepare, select},
};
use crate::{
    cli::{GlobalArgs, PlanArgs, PlanFormat},
    exit_code::ExitCode,
    plan::{Planner, render},
    report,
    state::inventory::InventoryStore,
};

pub(super) async fn run(global: &GlobalArgs, args: PlanArgs) -> Result<ExitCode, AppError> {
    let prepared = prepare(global, &args.pipeline).await?;
    let selection = select(&args.selection, &prepared.pipeline)?;
    let cluster = connect(&args.cluster, &prepared.pipeline).await?;
    let helm = Arc::new(helm(global, &prepared.pipeline, prepared.lock));
    let namespace = &prepared.pipeline.state.namespace;
    let inventory = InventoryStore::load(cluster.clone(), namespace, &prepared.pipeline.name).await?;
    let planner =
        Planner::new(prepared.pipeline, prepared.plugins, cluster, helm).allow_skip(args.allow_skip);
    let planned = planner
        .plan_all(&selection, &inventory.snapshot().await)
        .await
        .map_err(|(step, error)| AppError::of_step(planner.pipeline(), &step, error))?;

    let text = match args.output {
        PlanFormat::Text => render::text(&planned.plan, &style(global, args.verbose)),
        PlanFormat::Json => render::json(&planned.plan),
        PlanFormat::Markdown => render::markdown(&planned.plan),
    };
    report::print(&text)?;
    if let Some(file) = &args.out {
        plan_file::write(file, &planned.plan, planner.inputs(&planned))?;
    }
    let changes = planned.plan.counts().any();
    Ok(if args.detailed_exitcode && changes { ExitCode::Changes } else { ExitCode::Success })
}

//! `meshrun vendor`: the charts of a pipeline into a directory, their digests and the plugins' into the lock file.

use std::{collections::BTreeMap, sync::Arc};

use meshrun_protocol::Chart;

use super::{
    AppError,
    setup::{beside, helm, prepare},
};
use crate::{
    cli::{GlobalArgs, VendorArgs},
    cluster::{Cluster, rehearsal::Rehearsal},
    exit_code::ExitCode,
    lock::LockFile,
    plan::{Planner, Selection, work::WorkKind},
    report,
    state::inventory::Inventory,
};

pub(super) async fn run(global: &GlobalArgs, args: VendorArgs) -> Result<ExitCode, AppError> {
    let prepared = prepare(global, &args.pipeline).await?;
    // The charts that the pins forbid are the ones to be replaced: rendered without them.
    let helm = Arc::new(helm(global, &prepared.pipeline, None));
    // Which charts a step uses is its plugin's answer; a cluster in memory is enough to ask for it.
    let cluster: Arc<dyn Cluster> = Arc::new(Rehearsal::builder().build());
    let plugins: BTreeMap<String, String> = prepared
        .pipeline
        .steps
        .iter()
        .filter_map(|step| Some((step.uses.clone(), prepared.plugins.get(&step.id)?.digest().to_string())))
        .collect();
    let planner = Planner::new(prepared.pipeline.clone(), prepared.plugins, cluster, helm.clone());
    let selection = Selection::default();
    let planned = planner
        .plan_all(&selection, &Inventory::empty(""))
        .await
        .map_err(|(step, error)| AppError::of_step(planner.pipeline(), &step, error))?;
    let mut charts: Vec<Chart> = Vec::new();
    for work in planned.steps.values().flat_map(|step| &step.works) {
        if let WorkKind::Release(release) = &work.kind
            && !charts.contains(&release.chart)
        {
            charts.push(release.chart.clone());
        }
    }
    let vendored = helm.vendor(&charts, &args.to).await?;
    let file = beside(&prepared.pipeline.path);
    let lock = LockFile {
        charts: vendored.iter().map(|chart| (chart.title(), chart.digest.clone())).collect(),
        plugins,
    };
    lock.write(&file)?;
    for chart in &vendored {
        report::print(&format!("{}  {}", chart.title(), chart.digest))?;
    }
    let (count, to) = (vendored.len(), args.to.display());
    report::print(&format!(
        "{count} charts are in {to}, pinned in {}. Use them with --charts {to}.",
        file.display()
    ))?;
    Ok(ExitCode::Success)
}

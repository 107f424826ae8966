//! `meshrun rehearse`: the whole run on a cluster in memory.

use std::{sync::Arc, time::Instant};

use tokio_util::sync::CancellationToken;

use super::{
    AppError,
    run::{Rest, carry_out},
    setup::{helm, prepare},
};
use crate::{
    cli::{GlobalArgs, RehearseArgs},
    cluster::{Cluster, rehearsal::Rehearsal},
    exec::Consent,
    exit_code::ExitCode,
    plan::{Planner, Selection},
    state::{inventory::Inventory, lock::Loss},
};

pub(super) async fn run(global: &GlobalArgs, args: RehearseArgs) -> Result<ExitCode, AppError> {
    let started = Instant::now();
    let prepared = prepare(global, &args.pipeline).await?;
    let cluster: Arc<dyn Cluster> = Arc::new(Rehearsal::builder().version(&args.kubernetes).build());
    let helm = Arc::new(helm(global, &prepared.pipeline, prepared.lock));
    let planner = Planner::new(prepared.pipeline, prepared.plugins, cluster, helm);
    let selection = Selection::default();
    let planned = planner
        .plan_all(&selection, &Inventory::empty(""))
        .await
        .map_err(|(step, error)| AppError::of_step(planner.pipeline(), &step, error))?;
    let rest = Rest {
        inventory: None,
        consent: Consent::Everything,
        may_write: true,
        cancel: CancellationToken::new(),
        lost: Loss::default(),
        started,
    };
    carry_out(global, &args.report, planner, planned, rest).await
}

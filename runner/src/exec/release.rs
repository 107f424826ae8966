//! A Helm release: hooks, objects, what the chart no longer has, and the record.

use meshrun_protocol::{Delete, ListQuery};

use super::{
    apply::apply_objects,
    context::ActionContext,
    effects,
    error::StepError,
    hooks::{Moment, run_hooks},
};
use crate::{
    cluster::{ClusterError, ErrorKind},
    event::Event,
    helm::release::{self, Release, Status, Stored},
    plan::{HELM_MANAGER, model::Change, work::ReleaseWork},
    state::persist,
};

/// Revisions that are kept, as many as helm keeps.
const HISTORY: usize = 10;

/// Applies a release and records it as helm would.
pub(super) async fn apply_release(
    context: &ActionContext,
    work: &ReleaseWork,
    changes: &[Change],
) -> Result<(), StepError> {
    let upgrade = work.previous().is_some();
    if let (Some(_), Some(previous)) = (&work.pending, work.previous()) {
        let record = previous.secret.reference();
        if !context.consent.covers(&record) {
            return Err(StepError::NotAgreed { object: record.to_string() });
        }
    }
    if work.record {
        run_hooks(context, &work.rendered, Moment::before(upgrade)).await?;
    }
    apply_objects(context, &work.objects, HELM_MANAGER, changes).await?;
    effects::delete(context, &Delete { objects: work.obsolete.clone() }).await?;
    if work.record {
        // Recorded last: a hook that fails leaves a release that the next run does once more.
        run_hooks(context, &work.rendered, Moment::after(upgrade)).await?;
        record(context, work).await?;
    }
    Ok(())
}

async fn record(context: &ActionContext, work: &ReleaseWork) -> Result<(), StepError> {
    let previous = work.previous();
    let now = jiff::Timestamp::now();
    let description = if previous.is_some() { "Upgrade complete" } else { "Install complete" };
    let next = Release::next(previous.map(|stored| &stored.release), &work.rendered, now, description)
        .map_err(crate::plan::PlanError::from)?;
    for previous in &work.recorded {
        // Before the new one: a crash in between leaves no deployed revision, and the next run records one.
        let superseded = previous.with_status(Status::Superseded, now);
        persist(context.cluster.as_ref(), &superseded, Some(&previous.secret)).await?;
    }
    match persist(context.cluster.as_ref(), &next.encode(now), None).await {
        Ok(_) => {}
        Err(error) if error.kind == ErrorKind::AlreadyExists => {
            let message = "another helm has recorded this revision meanwhile";
            return Err(ClusterError::new(error.doing, ErrorKind::Conflict, message).into());
        }
        Err(error) => return Err(error.into()),
    }
    if previous.is_some() {
        forget_oldest(context, work).await?;
    }
    context.events.send(Event::ReleaseRecorded {
        step: context.step.clone(),
        release: work.rendered.release.clone(),
        namespace: work.rendered.namespace.clone(),
        revision: next.version,
    });
    Ok(())
}

/// Deletes the oldest revisions beyond those that helm would keep.
async fn forget_oldest(context: &ActionContext, work: &ReleaseWork) -> Result<(), StepError> {
    let query = ListQuery {
        api_version: "v1".into(),
        kind: "Secret".into(),
        namespace: Some(work.rendered.namespace.clone()),
        labels: Some(release::selector(&work.rendered.release)),
    };
    let secrets = context.cluster.list(&query).await?;
    for secret in Stored::expired(&secrets, HISTORY) {
        context.cluster.delete(&secret).await?;
    }
    Ok(())
}

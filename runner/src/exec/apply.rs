//! Server-side apply of a set of objects: phase by phase, several requests in flight.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use meshrun_protocol::{ObjectRef, WaitCondition, WaitFor};
use serde_json::json;

use super::{
    action::without_unchanged,
    context::ActionContext,
    error::StepError,
    wait::{WaitSink, wait_for},
};
use crate::{
    cluster::{ApplyOptions, ClusterError, ErrorKind, Object},
    event::Done,
    plan::{
        model::{Change, Verb},
        owned::leave_to_others,
        ownership::{Takeover, takeover},
        phases::in_phases,
    },
};

/// Requests of one action in flight at most: more only queue up in the server.
const IN_FLIGHT: usize = 8;
/// Pause before a request is repeated that a webhook or an API did not take yet.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause grows up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Applies the objects that the plan does not know to be as they should be, and waits until the CRDs among them are
/// established.
pub(super) async fn apply_objects(
    context: &ActionContext,
    objects: &[Object],
    manager: &str,
    changes: &[Change],
) -> Result<(), StepError> {
    for phase in in_phases(without_unchanged(context, objects, changes)) {
        let writes: Vec<_> =
            phase.iter().map(|object| apply_object(context, object, manager, changes)).collect();
        let written: Vec<Option<ObjectRef>> =
            stream::iter(writes).buffer_unordered(IN_FLIGHT).try_collect().await?;
        let crds: Vec<WaitFor> = written
            .into_iter()
            .flatten()
            .filter(|object| object.kind == "CustomResourceDefinition")
            .map(|object| WaitFor { object, until: WaitCondition::Established })
            .collect();
        if !crds.is_empty() {
            wait_for(&context.cluster, &crds, context, context.deadline, &context.cancel).await.map_err(
                |error| StepError::from_wait(error, "CRDs not established", context.started.elapsed()),
            )?;
        }
    }
    Ok(())
}

/// Applies one object. Returns its reference where it was written, `None` where it was as it should be.
async fn apply_object(
    context: &ActionContext,
    object: &Object,
    manager: &str,
    changes: &[Change],
) -> Result<Option<ObjectRef>, StepError> {
    let reference = object.reference();
    if context.cancel.is_cancelled() {
        return Err(StepError::Cancelled);
    }
    // The plan looked a moment ago: what was not there then need not be looked for again.
    let new = changes
        .iter()
        .any(|change| matches!(change.verb, Verb::Create | Verb::CreateLater) && change.object == reference);
    let live = if new { None } else { context.cluster.get(&reference).await? };
    let mut desired = object.clone();
    let mut adopted = false;
    if let Some(live) = &live {
        leave_to_others(&mut desired, live);
        if let Some(takeover) = takeover(live, &desired, manager) {
            take_over(context, live, &takeover).await?;
            adopted = true;
        }
    }
    let applied = match patiently(context, &desired, manager).await {
        Err(error) if is_immutable(&error) => replace(context, &reference, &desired, manager, error).await?,
        other => other?,
    };
    let done = match &live {
        None => Done::Created,
        Some(_) if adopted => Done::Adopted,
        Some(live) if live.resource_version() == applied.resource_version() => Done::Unchanged,
        Some(_) => Done::Updated,
    };
    context.object_done(reference.clone(), done);
    Ok((done != Done::Unchanged).then_some(reference))
}

/// Makes the fields that another tool wrote the manager's own; an object that changed meanwhile is left for another
/// attempt of the step.
async fn take_over(context: &ActionContext, live: &Object, takeover: &Takeover) -> Result<(), StepError> {
    let patch = json!({ "metadata": {
        "resourceVersion": live.resource_version(),
        "managedFields": takeover.managed_fields,
    } });
    context.cluster.patch(&live.reference(), &patch, None).await?;
    Ok(())
}

/// Applies, and repeats while what stands in the way may pass: a webhook without an answer, an API that its CRD has
/// only just brought, a server that is busy.
async fn patiently(context: &ActionContext, object: &Object, manager: &str) -> Result<Object, StepError> {
    let options = ApplyOptions { manager: manager.into(), force: true, dry_run: false };
    let mut pause = PAUSE;
    loop {
        let error = match context.cluster.apply(object, &options).await {
            Ok(applied) => return Ok(applied),
            Err(error) => error,
        };
        let late = tokio::time::Instant::now() + pause >= context.deadline;
        if late || !may_pass(&error) {
            return Err(error.into());
        }
        context.waiting(&error.to_string());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = context.cancel.cancelled() => return Err(StepError::Cancelled),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn may_pass(error: &ClusterError) -> bool {
    error.retryable() || error.kind == ErrorKind::NotServed
}

fn is_immutable(error: &StepError) -> bool {
    matches!(error, StepError::Cluster(error)
        if error.kind == ErrorKind::Invalid && error.message.contains("field is immutable"))
}

/// Deletes an object, waits until it is gone and creates it anew.
async fn replace(
    context: &ActionContext,
    reference: &ObjectRef,
    desired: &Object,
    manager: &str,
    error: StepError,
) -> Result<Object, StepError> {
    if !context.consent.covers(reference) {
        return Err(match error {
            StepError::Cluster(error) => {
                StepError::NeedsReplacement { doing: error.doing, message: error.message }
            }
            other => other,
        });
    }
    context.cluster.delete(reference).await?;
    let gone = [WaitFor { object: reference.clone(), until: WaitCondition::Deleted }];
    wait_for(&context.cluster, &gone, context, context.deadline, &context.cancel)
        .await
        .map_err(|error| StepError::from_wait(error, "not deleted", context.started.elapsed()))?;
    patiently(context, desired, manager).await
}

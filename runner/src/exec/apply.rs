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
/// How often the takeover of an object is tried that changes all the time.
const TAKEOVERS: usize = 5;
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
    let (live, desired, adopted) = fit_to(context, live, object, manager).await?;
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

/// Fits an object to the one that is there, and takes that over from the tool that wrote it. What changes meanwhile, as
/// a status does at any time, is read again. Returns what was there, what is to be applied, and whether it was taken over.
async fn fit_to(
    context: &ActionContext,
    mut live: Option<Object>,
    object: &Object,
    manager: &str,
) -> Result<(Option<Object>, Object, bool), ClusterError> {
    let mut attempts = 1;
    loop {
        let mut desired = object.clone();
        let Some(there) = &live else { return Ok((live, desired, false)) };
        leave_to_others(&mut desired, there);
        let Some(takeover) = takeover(there, &desired, manager, None) else {
            return Ok((live, desired, false));
        };
        match take_over(context, there, &takeover).await {
            Ok(()) => return Ok((live, desired, true)),
            Err(error) if error.kind == ErrorKind::Conflict && attempts < TAKEOVERS => attempts += 1,
            Err(error) => return Err(error),
        }
        live = context.cluster.get(&object.reference()).await?;
    }
}

/// Makes the fields that another tool wrote the manager's own, unless the object changed since it was read.
async fn take_over(context: &ActionContext, live: &Object, takeover: &Takeover) -> Result<(), ClusterError> {
    let patch = json!({ "metadata": {
        "resourceVersion": live.resource_version(),
        "managedFields": takeover.managed_fields,
    } });
    context.cluster.patch(&live.reference(), &patch, None).await.map(|_| ())
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
    matches!(error, StepError::Cluster(error) if error.needs_replacement())
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

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use futures::FutureExt;

    use super::*;
    use crate::{
        cluster::{
            Cluster,
            flaky::{Fate, Flaky},
            rehearsal::Rehearsal,
        },
        event::Event,
    };

    fn config_map(helm: bool) -> Object {
        let managed = json!([{ "manager": "helm", "operation": "Update", "apiVersion": "v1",
                               "fieldsType": "FieldsV1", "fieldsV1": { "f:data": { "f:a": {} } } }]);
        let mut object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "istio", "namespace": "default" },
            "data": { "a": "1" },
        });
        if helm {
            object["metadata"]["managedFields"] = managed;
        }
        Object::new(object).expect("an object")
    }

    /// Takes an object of helm over while somebody else writes it so many times at the worst moment.
    async fn check(writes: usize) -> Result<Done, String> {
        let rehearsal = Rehearsal::default();
        rehearsal.create(&config_map(true)).await.expect("it is new");
        let left = AtomicUsize::new(writes);
        let cluster: Arc<dyn Cluster> = Arc::new(Flaky::new(rehearsal, move |method, inner| {
            let before = left.load(Ordering::Relaxed);
            if method == "patch" && before > 0 {
                left.store(before - 1, Ordering::Relaxed);
                let status = json!({ "metadata": { "annotations": { "seen": before.to_string() } } });
                let written = inner.patch(&config_map(false).reference(), &status, None).now_or_never();
                written.expect("at once").expect("it is there");
            }
            Fate::Answered
        }));
        let (context, mut events) = ActionContext::of_test(cluster);
        apply_object(&context, &config_map(false), "helm", &[]).await.map_err(|error| error.to_string())?;
        match events.try_recv() {
            Ok(Event::ObjectDone { done, .. }) => Ok(done),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn takes_over_an_object_that_changes_meanwhile() {
        for writes in [0, 1, 4] {
            assert_eq!(check(writes).await, Ok(Done::Adopted));
        }
        let error = check(5).await.expect_err("it gives up");
        assert!(error.starts_with("patch ConfigMap default/istio: "), "{error}");
    }
}

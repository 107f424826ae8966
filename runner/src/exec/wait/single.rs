//! Conditions that the object itself answers.

use std::time::Duration;

use futures::StreamExt;
use meshrun_protocol::{ObjectRef, WaitCondition};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Context, Next, WaitError,
    board::Slot,
    judge::{Verdict, judge},
    pods,
};
use crate::cluster::{Object, Seen, WatchQuery};

/// Silence after which a CRD is touched; the server takes much less.
const SILENCE: Duration = Duration::from_secs(5);
/// Annotation that is set and taken off again, to make a change.
const TOUCHED: &str = "meshrun.dev/touched-at";

pub(super) async fn wait(
    context: &Context<'_>,
    object: &ObjectRef,
    condition: &WaitCondition,
    slot: &Slot<'_>,
) -> Result<(), WaitError> {
    // Most conditions hold already in a repeated run: one look is cheaper than a watch.
    let first = context.cluster.get(object).await?;
    let mut reason = match judge(object, condition, first.as_ref()) {
        Verdict::Done => return Ok(()),
        Verdict::Never(reason) => return Err(WaitError::Never { reason }),
        Verdict::Pending(reason) => reason,
    };
    slot.waiting(reason.clone());
    let mut watch = context.cluster.watch(WatchQuery::object(object));
    let mut seen = Seen::default();
    let mut trouble = None;
    loop {
        match context.next(timeout(SILENCE, watch.next())).await {
            Next::Event(Err(_)) if *condition == WaitCondition::Established => {
                touch(context, object, newest(&seen)).await;
                continue;
            }
            Next::Event(Err(_)) => continue,
            Next::Cancelled => return Err(WaitError::Cancelled),
            Next::TimedOut => {
                let event = pods::last_warning(context.cluster, object).await;
                let reason = event.map_or(reason.clone(), |event| format!("{reason}: {event}"));
                return Err(WaitError::TimedOut { reason });
            }
            Next::Event(Ok(Some(Ok(event)))) => seen.take(event),
            Next::Event(Ok(Some(Err(error)))) => {
                slot.waiting(error.to_string());
                trouble = Some(error);
                continue;
            }
            Next::Event(Ok(None)) => return Err(ended(trouble, reason)),
        }
        match judge(object, condition, newest(&seen)) {
            Verdict::Done => return Ok(()),
            Verdict::Never(reason) => return Err(WaitError::Never { reason }),
            Verdict::Pending(now) => reason = now,
        }
        slot.waiting(reason.clone());
    }
}

/// Makes the server look again at a CRD that it has accepted and not established. One that is killed in between forgets
/// it until something about the CRD changes (`crdHandler.updateCustomResourceDefinition` of apiextensions-apiserver).
async fn touch(context: &Context<'_>, crd: &ObjectRef, live: Option<&Object>) {
    let accepted = live.and_then(|live| live.condition("NamesAccepted"));
    if accepted.is_none_or(|condition| condition["status"] != "True") {
        return;
    }
    for mark in [json!(jiff::Timestamp::now().to_string()), Value::Null] {
        let patch = json!({ "metadata": { "annotations": { TOUCHED: mark } } });
        if let Err(error) = context.cluster.patch(crd, &patch, None).await {
            tracing::warn!(%error, "the CRD could not be touched");
        }
    }
}

/// A watch ends only when trying again cannot help; its last error says why.
pub(super) fn ended(trouble: Option<crate::cluster::ClusterError>, reason: String) -> WaitError {
    trouble.map_or(WaitError::Never { reason }, WaitError::Cluster)
}

/// The newest state of an object that a watch of one object has seen.
pub(super) fn newest(seen: &Seen) -> Option<&Object> {
    seen.objects().next()
}

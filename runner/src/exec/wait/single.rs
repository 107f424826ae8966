//! Conditions that the object itself answers.

use futures::StreamExt;
use meshrun_protocol::{ObjectRef, WaitCondition};

use super::{
    Context, Next, WaitError,
    board::Slot,
    judge::{Verdict, judge},
    pods,
};
use crate::cluster::{Object, Seen, WatchQuery};

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
        match context.next(watch.next()).await {
            Next::Cancelled => return Err(WaitError::Cancelled),
            Next::TimedOut => {
                let event = pods::last_warning(context.cluster, object).await;
                let reason = event.map_or(reason.clone(), |event| format!("{reason}: {event}"));
                return Err(WaitError::TimedOut { reason });
            }
            Next::Event(Some(Ok(event))) => seen.take(event),
            Next::Event(Some(Err(error))) => {
                slot.waiting(error.to_string());
                trouble = Some(error);
                continue;
            }
            Next::Event(None) => return Err(ended(trouble, reason)),
        }
        match judge(object, condition, seen.objects().next()) {
            Verdict::Done => return Ok(()),
            Verdict::Never(reason) => return Err(WaitError::Never { reason }),
            Verdict::Pending(now) => reason = now,
        }
        slot.waiting(reason.clone());
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

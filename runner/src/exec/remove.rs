//! Taking objects away: in an order in which nothing is missed, each waited for until it is really gone.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use meshrun_protocol::{ObjectRef, WaitCondition, WaitFor};

use super::{context::ActionContext, error::StepError, wait::wait_for};
use crate::{event::Done, plan::phases::removal_phase};

/// Deletions in flight at most.
const IN_FLIGHT: usize = 8;

/// Deletes objects phase by phase and waits until those of a phase are gone before the next begins. Objects that do
/// not exist are done already.
pub(super) async fn remove(context: &ActionContext, objects: &BTreeSet<ObjectRef>) -> Result<(), StepError> {
    let mut sorted: Vec<&ObjectRef> = objects.iter().collect();
    sorted.sort_by_key(|object| removal_phase(object));
    for phase in sorted.chunk_by(|one, other| removal_phase(one) == removal_phase(other)) {
        let deletions: Vec<_> = phase.iter().map(|object| delete(context, object)).collect();
        let deleted: Vec<Option<ObjectRef>> =
            stream::iter(deletions).buffer_unordered(IN_FLIGHT).try_collect().await?;
        let gone: Vec<WaitFor> = deleted
            .into_iter()
            .flatten()
            .map(|object| WaitFor { object, until: WaitCondition::Deleted })
            .collect();
        wait_for(&context.cluster, &gone, context, context.deadline, &context.cancel)
            .await
            .map_err(|error| StepError::from_wait(error, "not deleted", context.started.elapsed()))?;
        for wait in gone {
            context.object_done(wait.object, Done::Deleted);
        }
    }
    Ok(())
}

async fn delete(context: &ActionContext, object: &ObjectRef) -> Result<Option<ObjectRef>, StepError> {
    if context.cancel.is_cancelled() {
        return Err(StepError::Cancelled);
    }
    Ok(context.cluster.delete(object).await?.then(|| object.clone()))
}

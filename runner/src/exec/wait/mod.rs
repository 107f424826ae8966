//! Waiting by watch: conditions in, done out; and while it waits, the reason why it is not done yet.

mod board;
mod judge;
mod pods;
mod single;
mod webhook;
mod workload;

use std::sync::Arc;

use futures::future::try_join_all;
use meshrun_protocol::{ObjectRef, WaitCondition, WaitFor};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, ClusterError};
use board::{Board, Slot};

/// Takes what a wait has to tell.
pub(crate) trait WaitSink: Send + Sync {
    /// The reason why it is not done yet changed.
    fn waiting(&self, reason: &str);
    /// A ReplicaSet in back-off was made to try again.
    fn nudged(&self, replica_set: &ObjectRef);
}

/// Why a wait ended without being done.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The time was up.
    #[error("{reason}")]
    TimedOut {
        /// What was still missing, with the pod, container and event to blame where there is one.
        reason: String,
    },
    /// It cannot come true any more.
    #[error("{reason}")]
    Never {
        /// Why not.
        reason: String,
    },
    /// The cluster could not be watched.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The run was stopped.
    #[error("stopped")]
    Cancelled,
}

/// What every kind of wait needs.
#[derive(Clone)]
struct Context<'a> {
    cluster: &'a Arc<dyn Cluster>,
    sink: &'a dyn WaitSink,
    deadline: Instant,
    cancel: &'a CancellationToken,
}

/// Waits until all conditions hold; they are watched side by side.
///
/// # Errors
/// [`WaitError`]: time is up, a condition can never hold, the cluster cannot be read, the run was stopped.
pub(crate) async fn wait_for(
    cluster: &Arc<dyn Cluster>,
    conditions: &[WaitFor],
    sink: &dyn WaitSink,
    deadline: Instant,
    cancel: &CancellationToken,
) -> Result<(), WaitError> {
    let context = Context { cluster, sink, deadline, cancel };
    let board = Board::new(conditions.len(), sink);
    let waits =
        conditions.iter().enumerate().map(|(index, condition)| one(&context, condition, board.slot(index)));
    try_join_all(waits).await.map(|_| ())
}

async fn one(context: &Context<'_>, wait: &WaitFor, slot: Slot<'_>) -> Result<(), WaitError> {
    let done = match &wait.until {
        WaitCondition::Available { min_replicas, nudge } => {
            workload::wait(context, &wait.object, min_replicas.unwrap_or(0), *nudge, &slot).await
        }
        WaitCondition::WebhookReady { fail_closed } => {
            webhook::wait(context, &wait.object, *fail_closed, &slot).await
        }
        condition => single::wait(context, &wait.object, condition, &slot).await,
    };
    if done.is_ok() {
        slot.done();
    }
    done
}

impl Context<'_> {
    /// Awaits the next event, unless time is up or the run was stopped.
    async fn next<T>(&self, event: impl Future<Output = T>) -> Next<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Next::Cancelled,
            event = event => Next::Event(event),
            () = tokio::time::sleep_until(self.deadline) => Next::TimedOut,
        }
    }
}

/// What came first.
enum Next<T> {
    Event(T),
    TimedOut,
    Cancelled,
}

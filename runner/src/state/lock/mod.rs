//! The lock of a run: a Lease per pipeline with a heartbeat; a holder that died loses it when the lease expires.

mod heartbeat;
mod lease;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use meshrun_protocol::ObjectRef;
use serde::Serialize;
use serde_json::json;
use tokio::{task::JoinHandle, time::Instant};

pub use heartbeat::Loss;

use super::persist::PAUSES;
use crate::cluster::{Cluster, ClusterError, ErrorKind, Object, WatchEvent, WatchQuery};
use lease::{Observed, Standing, lease, reference};

/// Who has a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// User, host, process.
    pub name: String,
    /// When it was taken.
    pub since: String,
    /// Seconds until it expires unless it is renewed; where only watching it tells, how long that takes.
    pub expires_in: i64,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run has it.
    #[error("pipeline `{pipeline}` is locked by {} since {}", holder.name, holder.since)]
    Held {
        /// Name of the pipeline.
        pipeline: String,
        /// Who has it.
        holder: Holder,
    },
    /// The Lease could not be read or written.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// A lock that is held; [`Lock::release`] gives it back.
pub struct Lock {
    cluster: Arc<dyn Cluster>,
    reference: ObjectRef,
    holder: String,
    heartbeat: JoinHandle<()>,
    loss: Loss,
}

impl Lock {
    /// Takes the lock of a pipeline, and waits for it as long as `patience` says. A holder that may be dead is watched
    /// for as long as its lease lasts even without patience.
    ///
    /// # Errors
    /// [`LockError::Held`] while another run has it and is alive.
    pub async fn acquire(
        cluster: Arc<dyn Cluster>,
        namespace: &str,
        pipeline: &str,
        patience: Option<Duration>,
    ) -> Result<Self, LockError> {
        let deadline = Instant::now() + patience.unwrap_or_default();
        let reference = reference(namespace, pipeline);
        let mine = holder_name();
        let mut observed = Observed::default();
        let mut pauses = PAUSES.iter();
        loop {
            let attempt =
                Self::try_acquire(Arc::clone(&cluster), &reference, pipeline, &mine, &mut observed).await;
            let standing = match attempt {
                Ok(Attempt::Taken(lock)) => return Ok(lock),
                Ok(Attempt::Refused(standing)) => standing,
                // The server may have written the Lease and its answer was lost: the next look tells.
                Err(error)
                    if error.retryable()
                        && let Some(pause) = pauses.next() =>
                {
                    tracing::debug!(%error, ?pause, "the lock is tried again");
                    tokio::time::sleep(*pause).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let doubtful = matches!(standing, Standing::Doubtful(_)) && !observed.renewed;
            let Some(holder) = standing.holder() else { continue };
            if Instant::now() >= deadline {
                if !doubtful {
                    return Err(LockError::Held { pipeline: pipeline.into(), holder });
                }
                tracing::info!(
                    "the lock of {} has expired by this clock: watched for {} s, clocks may differ",
                    holder.name,
                    holder.expires_in
                );
            }
            watch(&cluster, &reference, &mut observed, deadline, doubtful).await;
        }
    }

    async fn try_acquire(
        cluster: Arc<dyn Cluster>,
        reference: &ObjectRef,
        pipeline: &str,
        me: &str,
        observed: &mut Observed,
    ) -> Result<Attempt, ClusterError> {
        let mut mine = lease(reference, pipeline, me);
        let taken = match cluster.get(reference).await? {
            None => cluster.create(&mine).await,
            Some(lease) if lease.text("/spec/holderIdentity") == me => Ok(lease),
            Some(lease) => {
                let standing = Standing::of(&lease);
                if observed.look(&lease) > Instant::now() && standing != Standing::Free {
                    return Ok(Attempt::Refused(standing));
                }
                mine.json_mut()["metadata"]["resourceVersion"] = json!(lease.resource_version());
                cluster.replace(&mine).await
            }
        };
        match taken {
            Ok(lease) => Ok(Attempt::Taken(Self::start(cluster, reference.clone(), me.to_owned(), lease))),
            // Somebody was quicker: say who.
            Err(error) if matches!(error.kind, ErrorKind::AlreadyExists | ErrorKind::Conflict) => {
                match cluster.get(reference).await? {
                    // An attempt before, that arrived late.
                    Some(lease) if lease.text("/spec/holderIdentity") == me => {
                        Ok(Attempt::Taken(Self::start(cluster, reference.clone(), me.to_owned(), lease)))
                    }
                    Some(winner) => {
                        observed.look(&winner);
                        Ok(Attempt::Refused(Standing::of(&winner)))
                    }
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Says who holds the lock of a pipeline; `None` where nobody does.
    ///
    /// # Errors
    /// When the Lease cannot be read.
    pub async fn holder(
        cluster: &dyn Cluster,
        namespace: &str,
        pipeline: &str,
    ) -> Result<Option<Holder>, ClusterError> {
        let lease = cluster.get(&reference(namespace, pipeline)).await?;
        Ok(lease.and_then(|lease| Standing::of(&lease).holder()))
    }

    /// Takes away the Lease of a holder that certainly died; every other one is left alone.
    ///
    /// # Errors
    /// When the Lease cannot be read or written.
    pub async fn clear(
        cluster: Arc<dyn Cluster>,
        namespace: &str,
        pipeline: &str,
    ) -> Result<(), ClusterError> {
        let reference = reference(namespace, pipeline);
        let lease = cluster.get(&reference).await?;
        if lease.is_none_or(|lease| Standing::of(&lease) != Standing::Free) {
            return Ok(());
        }
        // Taken before it is deleted: nobody else can take it in between.
        let observed = &mut Observed::default();
        match Self::try_acquire(cluster, &reference, pipeline, &holder_name(), observed).await? {
            Attempt::Taken(lock) => lock.release().await,
            Attempt::Refused(_) => Ok(()),
        }
    }

    /// Tells when the lock is lost: it could not be renewed for as long as the lease lasts, or somebody took it.
    pub fn lost(&self) -> Loss {
        self.loss.clone()
    }

    /// Gives the lock back.
    ///
    /// # Errors
    /// When the Lease cannot be deleted; it then expires by itself.
    pub async fn release(self) -> Result<(), ClusterError> {
        self.heartbeat.abort();
        let mine = self
            .cluster
            .get(&self.reference)
            .await?
            .is_some_and(|lease| lease.text("/spec/holderIdentity") == self.holder);
        if mine {
            self.cluster.delete(&self.reference).await?;
        }
        Ok(())
    }

    fn start(cluster: Arc<dyn Cluster>, reference: ObjectRef, holder: String, lease: Object) -> Self {
        let loss = Loss::default();
        let heartbeat =
            tokio::spawn(heartbeat::beat(Arc::clone(&cluster), lease, holder.clone(), loss.clone()));
        Self { cluster, reference, holder, heartbeat, loss }
    }
}

/// How an attempt to take a lock ended.
enum Attempt {
    Taken(Lock),
    Refused(Standing),
}

/// Watches a lease until it is gone, its holder has been silent for as long as it lasts, or the time is up. A doubtful
/// one is watched beyond that time until it is renewed: then its holder is alive.
async fn watch(
    cluster: &Arc<dyn Cluster>,
    lease: &ObjectRef,
    observed: &mut Observed,
    deadline: Instant,
    doubtful: bool,
) {
    let mut events = cluster.watch(WatchQuery::object(lease));
    loop {
        let silent = observed.silent().unwrap_or(deadline);
        let until = if doubtful && !observed.renewed { silent } else { silent.min(deadline) };
        let event = tokio::select! {
            biased;
            () = tokio::time::sleep_until(until) => return,
            event = events.next() => event,
        };
        match event {
            Some(Ok(WatchEvent::Deleted(_))) => return,
            Some(Ok(WatchEvent::Listed(objects))) => match objects.first() {
                Some(lease) => _ = observed.look(lease),
                None => return,
            },
            Some(Ok(WatchEvent::Changed(lease))) => _ = observed.look(&lease),
            Some(Err(error)) => tracing::debug!(%error, "the lock cannot be watched at the moment"),
            // The watch ended: the time that is left has to do, and the next look decides.
            None => return tokio::time::sleep_until(until).await,
        }
    }
}

/// Who holds a lock: user, host, process, and something that tells two runs of one process id apart.
pub fn holder_name() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "unknown".into());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // Process ids repeat; the random part makes two runs on one host two holders.
    format!("{user}@{host} (process {}, run {:08x})", std::process::id(), rand::random::<u32>())
}

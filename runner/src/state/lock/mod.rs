//! The lock of a run: a Lease per pipeline with a heartbeat; a holder that died loses it when the lease expires.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use jiff::Timestamp;
use meshrun_protocol::ObjectRef;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{object_name, persist::PAUSES, process};
use crate::cluster::{Cluster, ClusterError, ErrorKind, Object, WatchEvent, WatchQuery};

/// How long a holder that is silent still counts as alive.
const LEASE_SECONDS: i64 = 15;
/// Annotation that tells whether the holder is a process of this machine.
const PROCESS: &str = "meshrun.dev/process";
/// How often a living holder renews.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Who has a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// User, host, process.
    pub name: String,
    /// When it was taken.
    pub since: String,
    /// Seconds until it expires unless it is renewed.
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
    lost: CancellationToken,
}

impl Lock {
    /// Takes the lock of a pipeline, and waits for it as long as `patience` says.
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
        let me = holder_name();
        let mut pauses = PAUSES.iter();
        loop {
            let taken = Self::try_acquire(Arc::clone(&cluster), namespace, pipeline, &me).await;
            // The server may have written the Lease and its answer was lost: the next look tells.
            if let Err(LockError::Cluster(error)) = &taken
                && error.retryable()
                && let Some(pause) = pauses.next()
            {
                tracing::debug!(%error, ?pause, "the lock is tried again");
                tokio::time::sleep(*pause).await;
                continue;
            }
            let Err(LockError::Held { holder, .. }) = &taken else { return taken };
            if Instant::now() >= deadline {
                return taken;
            }
            // Told at once when it is given back; a holder that died says nothing, so its expiry counts too.
            let expiry = Duration::from_secs(holder.expires_in.unsigned_abs()) + Duration::from_millis(100);
            given_back(&cluster, &reference(namespace, pipeline), deadline.min(Instant::now() + expiry))
                .await;
        }
    }

    async fn try_acquire(
        cluster: Arc<dyn Cluster>,
        namespace: &str,
        pipeline: &str,
        me: &str,
    ) -> Result<Self, LockError> {
        let reference = reference(namespace, pipeline);
        let mine = lease(&reference, pipeline, me);
        let taken = match cluster.get(&reference).await? {
            None => cluster.create(&mine).await,
            Some(lease) if lease.text("/spec/holderIdentity") == me => Ok(lease),
            Some(lease) => {
                if let Some(held) = held(&lease, pipeline) {
                    return Err(held);
                }
                let mut mine = mine;
                mine.json_mut()["metadata"]["resourceVersion"] = json!(lease.resource_version());
                cluster.replace(&mine).await
            }
        };
        match taken {
            Ok(lease) => Ok(Self::start(cluster, reference, me.to_owned(), lease)),
            // Somebody was quicker: say who.
            Err(error) if matches!(error.kind, ErrorKind::AlreadyExists | ErrorKind::Conflict) => {
                let winner = cluster.get(&reference).await?;
                Err(winner
                    .as_ref()
                    .and_then(|lease| held(lease, pipeline))
                    .unwrap_or(LockError::Cluster(error)))
            }
            Err(error) => Err(error.into()),
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
        Ok(cluster.get(&reference(namespace, pipeline)).await?.as_ref().and_then(holder))
    }

    /// Takes away the Lease of a holder that died; a living one keeps it.
    ///
    /// # Errors
    /// When the Lease cannot be read or written.
    pub async fn clear(
        cluster: Arc<dyn Cluster>,
        namespace: &str,
        pipeline: &str,
    ) -> Result<(), ClusterError> {
        let lease = cluster.get(&reference(namespace, pipeline)).await?;
        if lease.is_none_or(|lease| holder(&lease).is_some()) {
            return Ok(());
        }
        // Taken before it is deleted: nobody else can take it in between.
        match Self::try_acquire(cluster, namespace, pipeline, &holder_name()).await {
            Ok(lock) => lock.release().await,
            Err(LockError::Held { .. }) => Ok(()),
            Err(LockError::Cluster(error)) => Err(error),
        }
    }

    /// Cancelled when the lock was lost: the heartbeat failed for as long as the lease lasts, or somebody took it.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
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
        let lost = CancellationToken::new();
        let heartbeat = tokio::spawn(beat(Arc::clone(&cluster), lease, holder.clone(), lost.clone()));
        Self { cluster, reference, holder, heartbeat, lost }
    }
}

fn reference(namespace: &str, pipeline: &str) -> ObjectRef {
    ObjectRef::namespaced("coordination.k8s.io/v1", "Lease", namespace, object_name(pipeline))
}

/// Returns when a lease is gone, or when the time is up.
async fn given_back(cluster: &Arc<dyn Cluster>, lease: &ObjectRef, until: Instant) {
    let mut watch = cluster.watch(WatchQuery::object(lease));
    let gone = async {
        while let Some(event) = watch.next().await {
            match event {
                Ok(WatchEvent::Deleted(_)) => return,
                Ok(WatchEvent::Listed(objects)) if objects.is_empty() => return,
                _ => {}
            }
        }
        // The watch ended: the time that is left has to do.
        std::future::pending::<()>().await;
    };
    // Either way the next look decides.
    let _ = tokio::time::timeout_at(until, gone).await;
}

async fn beat(cluster: Arc<dyn Cluster>, mut lease: Object, holder: String, lost: CancellationToken) {
    let mut renewed = Instant::now();
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let patch = json!({
            "metadata": { "resourceVersion": lease.resource_version() },
            "spec": { "renewTime": micro_time(), "holderIdentity": holder },
        });
        match cluster.patch(&lease.reference(), &patch, None).await {
            Ok(now) => {
                lease = now;
                renewed = Instant::now();
            }
            Err(error) => {
                // A conflict may be our own write whose answer was lost.
                if error.kind == ErrorKind::Conflict
                    && let Ok(Some(now)) = cluster.get(&lease.reference()).await
                    && now.text("/spec/holderIdentity") == holder
                {
                    lease = now;
                    renewed = Instant::now();
                    continue;
                }
                tracing::warn!(%error, "the lock could not be renewed");
                let silent = renewed.elapsed().as_secs() >= LEASE_SECONDS.unsigned_abs();
                if silent || matches!(error.kind, ErrorKind::Conflict | ErrorKind::NotFound) {
                    lost.cancel();
                    return;
                }
            }
        }
    }
}

fn lease(reference: &ObjectRef, pipeline: &str, holder: &str) -> Object {
    let now = micro_time();
    Object::new(json!({
        "apiVersion": reference.api_version,
        "kind": reference.kind,
        "metadata": {
            "name": reference.name,
            "namespace": reference.namespace,
            "labels": { "app.kubernetes.io/managed-by": "meshrun", "meshrun.dev/pipeline": pipeline },
            "annotations": { PROCESS: process::this() },
        },
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": now,
            "renewTime": now,
        },
    }))
    .expect("it has kind and name")
}

/// Who holds a lease and is alive.
fn holder(lease: &Object) -> Option<Holder> {
    let name = lease.text("/spec/holderIdentity");
    let renewed: Timestamp = lease.text("/spec/renewTime").parse().ok()?;
    let duration = lease.at("/spec/leaseDurationSeconds").and_then(Value::as_i64).unwrap_or(LEASE_SECONDS);
    let expires_in = duration - Timestamp::now().duration_since(renewed).as_secs();
    let dead = process::is_gone(lease.annotation(PROCESS).unwrap_or_default());
    (!name.is_empty() && expires_in > 0 && !dead).then(|| Holder {
        name: name.into(),
        since: lease.text("/spec/acquireTime").into(),
        expires_in,
    })
}

fn held(lease: &Object, pipeline: &str) -> Option<LockError> {
    holder(lease).map(|holder| LockError::Held { pipeline: pipeline.into(), holder })
}

/// The time as Kubernetes' `MicroTime` writes it.
fn micro_time() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Who holds a lock: user, host, process, and something that tells two runs of one process id apart.
pub fn holder_name() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "unknown".into());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // Process ids repeat; the random part makes two runs on one host two holders.
    format!("{user}@{host} (process {}, run {:08x})", std::process::id(), rand::random::<u32>())
}

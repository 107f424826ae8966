//! The heartbeat of a lock: renews the Lease, and knows no later than its end that the lock is lost.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::lease::{LEASE, end, micro_time};
use crate::cluster::{Cluster, ClusterError, ErrorKind, Object};

/// How often a living holder renews, and how long it waits for the answer.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Pause after a renewal that failed: there is no time to lose.
const RETRY: Duration = Duration::from_secs(1);

/// Whether a lock was lost, and why. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Loss {
    token: CancellationToken,
    reason: Arc<OnceLock<String>>,
}

impl Loss {
    /// Returns once the lock is lost.
    pub async fn happened(&self) -> &str {
        self.token.cancelled().await;
        self.reason().unwrap_or_default()
    }

    /// Why the lock was lost; `None` while it is held.
    pub fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    fn happens(&self, reason: String) {
        // Only the first reason counts, and nothing is lost twice.
        let _ = self.reason.set(reason);
        self.token.cancel();
    }
}

/// Renews a lease until it is lost.
pub(super) async fn beat(cluster: Arc<dyn Cluster>, mut lease: Object, holder: String, loss: Loss) {
    let mut until = end(&lease);
    let mut pause = HEARTBEAT;
    loop {
        sleep_until(until.min(Instant::now() + pause)).await;
        let patience = until.min(Instant::now() + HEARTBEAT);
        let error = match timeout_at(patience, renew(&cluster, &lease, &holder)).await {
            Ok(Ok((now, ends))) => {
                lease = now;
                (until, pause) = (ends, HEARTBEAT);
                continue;
            }
            Ok(Err(error)) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::NotFound) => {
                return loss.happens(format!("somebody else took it: {error}"));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the cluster does not answer".to_owned(),
        };
        tracing::warn!(error, "the lock could not be renewed");
        if Instant::now() >= until {
            return loss.happens(format!("it could not be renewed in time: {error}"));
        }
        pause = RETRY;
    }
}

/// Renews a lease. Returns it and when it ends.
async fn renew(
    cluster: &Arc<dyn Cluster>,
    lease: &Object,
    holder: &str,
) -> Result<(Object, Instant), ClusterError> {
    // The lease counts from when it was renewed, not from when the answer came.
    let ends = Instant::now() + LEASE;
    let patch = json!({
        "metadata": { "resourceVersion": lease.resource_version() },
        "spec": { "renewTime": micro_time(), "holderIdentity": holder },
    });
    match cluster.patch(&lease.reference(), &patch, None).await {
        // A conflict may be our own write whose answer was lost.
        Err(error) if error.kind == ErrorKind::Conflict => match cluster.get(&lease.reference()).await? {
            Some(now) if now.text("/spec/holderIdentity") == holder => Ok((now.clone(), end(&now))),
            _ => Err(error),
        },
        answer => answer.map(|now| (now, ends)),
    }
}

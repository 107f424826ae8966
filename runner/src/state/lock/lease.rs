//! The Lease of a lock: how it is written, and what it says about its holder.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use meshrun_protocol::ObjectRef;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Holder;
use crate::{
    cluster::Object,
    state::{object_name, process},
};

/// How long a holder that is silent still counts as alive.
const LEASE_SECONDS: u32 = 15;
/// The same as a time.
pub(super) const LEASE: Duration = Duration::from_secs(LEASE_SECONDS as u64);
/// How far the clocks of two machines may differ: a lease that expired longer ago has expired by every clock.
const CLOCKS_DIFFER: i64 = 300;
/// Annotation that tells whether the holder is a process of this machine.
const PROCESS: &str = "meshrun.dev/process";

/// What a look at a lease tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody holds it, or somebody who is certainly dead.
    Free,
    /// By our clock it has expired a short while ago. The clocks may differ: only watching it tells.
    Doubtful(Holder),
    /// Its holder is alive.
    Held(Holder),
}

impl Standing {
    /// Reads a lease.
    pub(super) fn of(lease: &Object) -> Self {
        let name = lease.text("/spec/holderIdentity");
        let Some(age) = age(lease) else { return Self::Free };
        if name.is_empty() || process::is_gone(lease.annotation(PROCESS).unwrap_or_default()) {
            return Self::Free;
        }
        let length = length(lease);
        let left = i64::from(length) - age.as_secs();
        let holder = |expires_in| Holder {
            name: name.into(),
            since: lease.text("/spec/acquireTime").into(),
            expires_in,
        };
        match left {
            1.. => Self::Held(holder(left)),
            left if left > -CLOCKS_DIFFER => Self::Doubtful(holder(i64::from(length))),
            _ => Self::Free,
        }
    }

    /// Who may be alive.
    pub(super) fn holder(self) -> Option<Holder> {
        match self {
            Self::Free => None,
            Self::Doubtful(holder) | Self::Held(holder) => Some(holder),
        }
    }
}

/// What was seen of a lease, by the time that passes here: no clock of another machine has a say in it.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Its state, since when it is that, and when it will have been that for as long as it lasts.
    last: Option<(String, Instant)>,
    /// Whether it was renewed, or taken by somebody, since the first look.
    pub(super) renewed: bool,
}

impl Observed {
    /// Takes a look in. Returns when the holder will have been silent for as long as the lease lasts.
    pub(super) fn look(&mut self, lease: &Object) -> Instant {
        let state = format!("{} {}", lease.text("/spec/renewTime"), lease.text("/spec/holderIdentity"));
        match &self.last {
            Some((last, silent)) if *last == state => *silent,
            last => {
                self.renewed |= last.is_some();
                let silent = Instant::now() + Duration::from_secs(length(lease).into());
                self.last = Some((state, silent));
                silent
            }
        }
    }

    /// When the holder will have been silent for long enough, as far as was seen.
    pub(super) fn silent(&self) -> Option<Instant> {
        self.last.as_ref().map(|(_, silent)| *silent)
    }
}

/// The Lease of a pipeline.
pub(super) fn reference(namespace: &str, pipeline: &str) -> ObjectRef {
    ObjectRef::namespaced("coordination.k8s.io/v1", "Lease", namespace, object_name(pipeline))
}

/// The Lease as this process takes it now.
pub(super) fn lease(reference: &ObjectRef, pipeline: &str, holder: &str) -> Object {
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

/// When a lease ends that this process renewed last: by its own clock.
pub(super) fn end(lease: &Object) -> Instant {
    let age = age(lease).and_then(|age| Duration::try_from(age).ok()).unwrap_or_default();
    Instant::now() + LEASE.saturating_sub(age)
}

/// The time as Kubernetes' `MicroTime` writes it.
pub(super) fn micro_time() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// How long ago a lease was renewed, by our clock; `None` where it says nothing of the kind.
fn age(lease: &Object) -> Option<SignedDuration> {
    let renewed: Timestamp = lease.text("/spec/renewTime").parse().ok()?;
    Some(Timestamp::now().duration_since(renewed))
}

/// How long a lease lasts, in seconds.
fn length(lease: &Object) -> u32 {
    let length = lease.at("/spec/leaseDurationSeconds").and_then(Value::as_u64);
    length.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(LEASE_SECONDS)
}

//! Writing one's own record so that it is there afterwards, whatever the connection does in between.

use std::time::Duration;

use crate::cluster::{Cluster, ErrorKind, Object, Result};

/// Pauses between attempts: long enough for an API server to restart.
pub(super) const PAUSES: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(900),
    Duration::from_millis(1500),
    Duration::from_millis(3000),
    Duration::from_millis(3000),
];

/// Creates an object, or replaces what was read before as `previous`. After a lost answer it looks whether the write
/// has been made before it tries again.
///
/// # Errors
/// When the cluster refuses, somebody else wrote the object, or it cannot be reached for several seconds.
pub(crate) async fn persist(
    cluster: &dyn Cluster,
    desired: &Object,
    previous: Option<&Object>,
) -> Result<Object> {
    let mut desired = desired.clone();
    let mut exists = previous.is_some();
    if let Some(previous) = previous {
        desired.json_mut()["metadata"]["resourceVersion"] = previous.resource_version().into();
    }
    let mut pauses = PAUSES.iter();
    let mut lost_an_answer = false;
    loop {
        let written = if exists { cluster.replace(&desired).await } else { cluster.create(&desired).await };
        let error = match written {
            Ok(object) => return Ok(object),
            Err(error) => error,
        };
        let taken = matches!(error.kind, ErrorKind::AlreadyExists | ErrorKind::Conflict);
        lost_an_answer |= error.retryable();
        let (true, Some(pause)) = (error.retryable() || (taken && lost_an_answer), pauses.next()) else {
            return Err(error);
        };
        tokio::time::sleep(*pause).await;
        match cluster.get(&desired.reference()).await {
            Ok(Some(now)) if same(&now, &desired) => return Ok(now),
            // Ours from an attempt before, or still the old one: the content decides, not the version.
            Ok(Some(now)) => {
                desired.json_mut()["metadata"]["resourceVersion"] = now.resource_version().into();
                exists = true;
            }
            Ok(None) => exists = false,
            Err(get) => tracing::debug!(error = %get, "the record cannot be read back yet"),
        }
    }
}

fn same(one: &Object, other: &Object) -> bool {
    ["/data", "/metadata/labels", "/spec"].iter().all(|pointer| one.at(pointer) == other.at(pointer))
}

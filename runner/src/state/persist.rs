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

/// Creates an object, or replaces what was read before as `previous`. After a lost answer it tries again, and looks
/// whether it was itself that wrote the object meanwhile; what others wrote stays.
///
/// # Errors
/// When the cluster refuses, somebody else wrote the object, or it cannot be reached for several seconds.
pub(crate) async fn persist(
    cluster: &dyn Cluster,
    desired: &Object,
    previous: Option<&Object>,
) -> Result<Object> {
    let mut desired = desired.clone();
    if let Some(previous) = previous {
        desired.json_mut()["metadata"]["resourceVersion"] = previous.resource_version().into();
    }
    let mut pauses = PAUSES.iter();
    let mut lost_an_answer = false;
    loop {
        // Always against the version that was read: the server refuses where that is not the current one any more.
        let written = match previous {
            Some(_) => cluster.replace(&desired).await,
            None => cluster.create(&desired).await,
        };
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
            Ok(_) if taken => return Err(error),
            Ok(_) => {}
            Err(get) => tracing::debug!(error = %get, "the record cannot be read back yet"),
        }
    }
}

fn same(one: &Object, other: &Object) -> bool {
    ["/data", "/metadata/labels", "/spec"].iter().all(|pointer| one.at(pointer) == other.at(pointer))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;
    use serde_json::json;

    use super::*;
    use crate::cluster::{
        flaky::{Fate, Flaky},
        rehearsal::Rehearsal,
    };

    fn record(text: &str) -> Object {
        Object::new(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "meshrun.prod", "namespace": "default" },
            "data": { "inventory": text },
        }))
        .expect("an object")
    }

    /// Writes `mine` where `before` is. The answer to the first attempt is lost, and to every other one too, unless
    /// somebody else writes before the second.
    /// Returns how it ended, and what is there afterwards.
    async fn check(before: Option<&str>, others: Option<&'static str>) -> (Result<Object>, String) {
        let rehearsal = Rehearsal::default();
        let previous = match before {
            Some(text) => Some(rehearsal.create(&record(text)).await.expect("it is new")),
            None => None,
        };
        let writes = AtomicUsize::new(0);
        let cluster = Flaky::new(rehearsal.clone(), |method, inner| {
            if let ("get", Some(text)) = (method, others) {
                inner.replace(&record(text)).now_or_never().expect("at once").expect("it is there");
            }
            let first = method != "get" && writes.fetch_add(1, Ordering::Relaxed) == 0;
            if first || (method != "get" && others.is_none()) { Fate::AnswerLost } else { Fate::Answered }
        });
        let result = persist(&cluster, &record("bWluZQ=="), previous.as_ref()).await;
        let now = rehearsal.get(&record("").reference()).await.expect("a Secret").expect("it is there");
        (result, now.text("/data/inventory").to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn finds_its_own_write_after_a_lost_answer() {
        for before in [None, Some("b2xk")] {
            let (result, now) = check(before, None).await;
            assert!(result.is_ok(), "{result:?}");
            assert_eq!(now, "bWluZQ==");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn overwrites_nothing_that_another_run_wrote_meanwhile() {
        for (before, kind) in [(None, ErrorKind::AlreadyExists), (Some("b2xk"), ErrorKind::Conflict)] {
            let (result, now) = check(before, Some("dGhlaXJz")).await;
            assert_eq!(result.map_err(|error| error.kind), Err(kind));
            assert_eq!(now, "dGhlaXJz");
        }
    }
}

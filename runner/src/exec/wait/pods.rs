//! Why pods are not ready: the one reason that says most, for people.

use std::sync::Arc;

use meshrun_protocol::{ListQuery, ObjectRef};
use serde_json::Value;

use crate::cluster::{Cluster, Object};

/// Waiting reasons that are part of a normal start.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// What stands in the way, the heavier the worse.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Obstacle {
    weight: u8,
    /// `Pod istio-system/istiod-7d9-x2x: container discovery: ImagePullBackOff: ...`.
    pub(super) text: String,
    /// The object whose events may say more.
    pub(super) object: ObjectRef,
}

/// Returns the heaviest obstacle among ReplicaSets and pods.
pub(super) fn obstacle<'a>(
    replica_sets: impl Iterator<Item = &'a Object>,
    pods: impl Iterator<Item = &'a Object>,
) -> Option<Obstacle> {
    let failures = replica_sets.filter_map(|set| {
        let message = creation_failure(set)?;
        Some(Obstacle {
            weight: 5,
            text: format!("{set} cannot create pods: {message}"),
            object: set.reference(),
        })
    });
    let pods = pods.filter_map(of_pod);
    failures.chain(pods).max_by_key(|obstacle| obstacle.weight)
}

/// What a ReplicaSet says when it cannot create pods.
pub(super) fn creation_failure(replica_set: &Object) -> Option<&str> {
    let wanted = replica_set.at("/spec/replicas").and_then(Value::as_u64).unwrap_or(0);
    let condition = replica_set.condition("ReplicaFailure")?;
    (wanted > 0 && condition["status"] == "True")
        .then(|| condition["message"].as_str().unwrap_or("no reason given"))
}

fn of_pod(pod: &Object) -> Option<Obstacle> {
    let found = |weight: u8, text: String| {
        Some(Obstacle { weight, text: format!("{pod}: {text}"), object: pod.reference() })
    };
    if pod.at("/metadata/deletionTimestamp").is_some() {
        return found(0, "is being deleted".into());
    }
    if let Some(scheduled) = pod.condition("PodScheduled")
        && scheduled["status"] == "False"
    {
        let message = scheduled["message"].as_str().unwrap_or("no reason given");
        return found(3, format!("cannot be scheduled: {message}"));
    }
    let statuses =
        pod.items("/status/initContainerStatuses").iter().chain(pod.items("/status/containerStatuses"));
    let mut unready = None;
    for status in statuses {
        let container = status["name"].as_str().unwrap_or("?");
        if let Some(reason) = status["state"]["waiting"]["reason"].as_str()
            && !STARTING.contains(&reason)
        {
            let message = status["state"]["waiting"]["message"].as_str().unwrap_or("");
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            return found(4, format!("container {container}: {reason}{message}{}", last_exit(status)));
        }
        if status["ready"] != true && status["state"]["running"].is_object() {
            unready = Some(container.to_owned());
        }
    }
    if let Some(container) = unready {
        return found(2, format!("container {container} runs but is not ready"));
    }
    let ready = pod.condition("Ready").is_some_and(|condition| condition["status"] == "True");
    let phase = pod.text("/status/phase");
    if ready {
        return None;
    }
    found(1, if phase.is_empty() { "is new".into() } else { format!("is {phase}") })
}

/// `, last exit code 1 (Error)`: a crash loop's cause.
fn last_exit(status: &Value) -> String {
    let last = &status["lastState"]["terminated"];
    match last["exitCode"].as_i64() {
        Some(code) => {
            format!(", last exit code {code} ({})", last["reason"].as_str().unwrap_or("no reason given"))
        }
        None => String::new(),
    }
}

/// Returns what the newest warning event about an object says; `None` where there is none or it cannot be read.
pub(super) async fn last_warning(cluster: &Arc<dyn Cluster>, object: &ObjectRef) -> Option<String> {
    let query = ListQuery {
        api_version: "v1".into(),
        kind: "Event".into(),
        namespace: Some(object.namespace.clone().unwrap_or_else(|| "default".into())),
        labels: None,
    };
    // An event is a bonus on the way to an error: that it cannot be read must not replace the error.
    let events = cluster.list(&query).await.inspect_err(|error| tracing::debug!(%error, "no events")).ok()?;
    events
        .iter()
        .filter(|event| event.text("/type") == "Warning")
        .filter(|event| {
            event.text("/involvedObject/kind") == object.kind
                && event.text("/involvedObject/name") == object.name
        })
        .max_by(|one, other| happened(one).cmp(happened(other)))
        .map(|event| format!("event {}: {}", event.text("/reason"), event.text("/message")))
}

fn happened(event: &Object) -> &str {
    ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
        .iter()
        .map(|pointer| event.text(pointer))
        .find(|time| !time.is_empty())
        .unwrap_or_default()
}

//! Waiting for a Deployment, StatefulSet or DaemonSet: its replicas decide, its pods say why not.

use std::time::Duration;

use futures::{StreamExt, stream::SelectAll};
use meshrun_protocol::ObjectRef;
use serde_json::{Value, json};

use super::{
    Context, Next, WaitError,
    board::Slot,
    judge::{Verdict, workload},
    pods::{creation_failure, last_warning, obstacle},
    single::{ended, newest},
};
use crate::cluster::{ApplyOptions, Object, Seen, WatchQuery};

/// How often a ReplicaSet that cannot create pods is tested for whether it could by now. There is no event to watch:
/// the controller's own back-off grows up to 1,000 s.
const TEST_EVERY: Duration = Duration::from_secs(1);

const WORKLOAD: usize = 0;
const REPLICA_SETS: usize = 1;
const PODS: usize = 2;

pub(super) async fn wait(
    context: &Context<'_>,
    object: &ObjectRef,
    at_least: u32,
    nudge: bool,
    slot: &Slot<'_>,
) -> Result<(), WaitError> {
    let first = context.cluster.get(object).await?;
    let mut pending = match verdict(object, first.as_ref(), at_least) {
        Verdict::Done => return Ok(()),
        Verdict::Never(reason) => return Err(WaitError::Never { reason }),
        Verdict::Pending(reason) => reason,
    };
    slot.waiting(pending.clone());

    let mut streams = SelectAll::new();
    streams.push(context.cluster.watch(WatchQuery::object(object)).map(|event| (WORKLOAD, event)).boxed());
    let mut around_watched = false;
    let mut seen = [Seen::default(), Seen::default(), Seen::default()];
    let mut test = tokio::time::interval(TEST_EVERY);
    let mut trouble = None;
    loop {
        if !around_watched && let Some(workload) = newest(&seen[WORKLOAD]).or(first.as_ref()) {
            // Pods and ReplicaSets explain, they do not decide: watched only once there is something to explain.
            for (source, query) in around(workload) {
                streams.push(context.cluster.watch(query).map(move |event| (source, event)).boxed());
            }
            around_watched = true;
        }
        let stuck = nudge && seen[REPLICA_SETS].objects().any(|set| creation_failure(set).is_some());
        let event = async {
            tokio::select! {
                event = streams.next() => Some(event),
                _ = test.tick(), if stuck => None,
            }
        };
        match context.next(event).await {
            Next::Cancelled => return Err(WaitError::Cancelled),
            Next::TimedOut => {
                return Err(WaitError::TimedOut { reason: diagnosis(context, &seen, &pending).await });
            }
            Next::Event(None) => {
                nudge_stuck(context, &seen[REPLICA_SETS]).await;
                continue;
            }
            Next::Event(Some(Some((source, Ok(event))))) => seen[source].take(event),
            Next::Event(Some(Some((source, Err(error))))) => {
                tracing::debug!(%error, "a watch has trouble");
                if source == WORKLOAD {
                    slot.waiting(error.to_string());
                    trouble = Some(error);
                }
                continue;
            }
            Next::Event(Some(None)) => return Err(ended(trouble, pending)),
        }
        match verdict(object, newest(&seen[WORKLOAD]), at_least) {
            Verdict::Done => return Ok(()),
            Verdict::Never(reason) => return Err(WaitError::Never { reason }),
            Verdict::Pending(reason) => pending = reason,
        }
        slot.waiting(reason(&seen, &pending));
    }
}

fn verdict(reference: &ObjectRef, object: Option<&Object>, at_least: u32) -> Verdict {
    match object {
        Some(object) => workload(reference, object, at_least),
        None => Verdict::Pending(format!("{reference} does not exist")),
    }
}

fn reason(seen: &[Seen; 3], pending: &str) -> String {
    match obstacle(seen[REPLICA_SETS].objects(), seen[PODS].objects()) {
        Some(obstacle) => format!("{pending}; {}", obstacle.text),
        None => pending.to_owned(),
    }
}

/// The reason at the end of the time: with the newest warning event about the object to blame.
async fn diagnosis(context: &Context<'_>, seen: &[Seen; 3], pending: &str) -> String {
    let Some(obstacle) = obstacle(seen[REPLICA_SETS].objects(), seen[PODS].objects()) else {
        return pending.to_owned();
    };
    let reason = format!("{pending}; {}", obstacle.text);
    match last_warning(context.cluster, &obstacle.object).await {
        Some(event) => format!("{reason}; {event}"),
        None => reason,
    }
}

/// The watches that explain a workload: ReplicaSets of a Deployment, and the pods, by the workload's own selector.
fn around(workload: &Object) -> Vec<(usize, WatchQuery)> {
    let Some(labels) = workload.at("/spec/selector/matchLabels").and_then(Value::as_object) else {
        return Vec::new();
    };
    let selector: Vec<String> =
        labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    let query = |api_version: &str, kind: &str| WatchQuery {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: workload.namespace().map(Into::into),
        name: None,
        labels: Some(selector.join(",")),
    };
    let mut queries = vec![(PODS, query("v1", "Pod"))];
    if workload.kind() == "Deployment" {
        queries.push((REPLICA_SETS, query("apps/v1", "ReplicaSet")));
    }
    queries
}

/// Makes ReplicaSets try again whose pods could be created by now: their own back-off lasts as long as the outage did.
async fn nudge_stuck(context: &Context<'_>, replica_sets: &Seen) {
    for set in replica_sets.objects().filter(|set| creation_failure(set).is_some()) {
        let Some(pod) = trial_pod(set) else { continue };
        let trial = ApplyOptions { manager: "meshrun".into(), force: false, dry_run: true };
        if let Err(error) = context.cluster.apply(&pod, &trial).await {
            tracing::debug!(%error, "the ReplicaSet still cannot create pods");
            continue;
        }
        // Any change of the ReplicaSet makes its controller look at it at once, past the back-off.
        let now = jiff::Timestamp::now().to_string();
        let patch = json!({ "metadata": { "annotations": { "meshrun.dev/nudged-at": now } } });
        match context.cluster.patch(&set.reference(), &patch, None).await {
            Ok(_) => context.sink.nudged(&set.reference()),
            Err(error) => tracing::warn!(%error, "the ReplicaSet could not be nudged"),
        }
    }
}

/// The pod that a ReplicaSet would create, for a dry run.
fn trial_pod(set: &Object) -> Option<Object> {
    let template = set.at("/spec/template")?;
    let mut metadata = template["metadata"].clone();
    let fields = metadata.as_object_mut()?;
    fields.remove("creationTimestamp");
    fields.insert("name".into(), json!(format!("{}-meshrun-trial", set.name())));
    fields.insert("namespace".into(), json!(set.namespace()?));
    Object::new(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] }))
        .ok()
}

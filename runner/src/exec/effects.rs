//! The small effects: delete, scale, restart, probe.

use std::time::Duration;

use meshrun_protocol::{
    Delete, Endpoint, HttpQuery, Label, Probe, ProbeTarget, Restart, Scale, WaitCondition, WaitFor,
};
use serde_json::json;

use super::{
    context::ActionContext,
    error::StepError,
    wait::{WaitSink, wait_for},
};
use crate::{cluster::ErrorKind, event::Done};

/// Time between two attempts of a probe: what it asks cannot be watched.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Deletes objects one after another and waits until each is gone.
pub(super) async fn delete(context: &ActionContext, delete: &Delete) -> Result<(), StepError> {
    for object in &delete.objects {
        // Planned anew in the course of the run: nobody was asked for what was not in the plan then.
        if !context.consent.covers(object) && context.cluster.get(object).await?.is_some() {
            return Err(StepError::NotAgreed { object: object.to_string() });
        }
        if context.cluster.delete(object).await? {
            let gone = [WaitFor { object: object.clone(), until: WaitCondition::Deleted }];
            wait_for(&context.cluster, &gone, context, context.deadline, &context.cancel)
                .await
                .map_err(|error| StepError::from_wait(error, "not deleted", context.started.elapsed()))?;
            context.object_done(object.clone(), Done::Deleted);
        }
    }
    Ok(())
}

/// Raises the replicas of a workload through its scale subresource, where it asks for fewer.
pub(super) async fn scale(context: &ActionContext, scale: &Scale) -> Result<(), StepError> {
    let Some(workload) = context.cluster.get(&scale.workload).await? else {
        return Err(StepError::Never(format!("{} does not exist", scale.workload)));
    };
    let asked = workload.at("/spec/replicas").and_then(serde_json::Value::as_u64).unwrap_or(1);
    if asked >= u64::from(scale.at_least) {
        return Ok(());
    }
    let patch = json!({ "spec": { "replicas": scale.at_least } });
    context.cluster.patch(&scale.workload, &patch, Some("scale")).await?;
    context.object_done(scale.workload.clone(), Done::Scaled);
    Ok(())
}

/// Sets labels on an object of somebody else's, or takes them off, where that changes something.
pub(super) async fn label(context: &ActionContext, label: &Label) -> Result<(), StepError> {
    let Some(object) = context.cluster.get(&label.object).await? else { return Ok(()) };
    if label.labels.iter().all(|(key, value)| object.label(key) == value.as_deref()) {
        return Ok(());
    }
    context.cluster.patch(&label.object, &json!({ "metadata": { "labels": label.labels } }), None).await?;
    context.object_done(label.object.clone(), Done::Updated);
    Ok(())
}

/// Restarts workloads one after another, each ready before the next.
pub(super) async fn restart(context: &ActionContext, restart: &Restart) -> Result<(), StepError> {
    for workload in &restart.workloads {
        // A workload that is gone has no pods to replace: an earlier step of a destroy may have taken it away.
        if context.cluster.get(workload).await?.is_none() {
            continue;
        }
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let annotations = json!({ "kubectl.kubernetes.io/restartedAt": now });
        let patch = json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } });
        context.cluster.patch(workload, &patch, None).await?;
        context.object_done(workload.clone(), Done::Restarted);
        let until = WaitCondition::Available { min_replicas: None, nudge: true };
        let ready = [WaitFor { object: workload.clone(), until }];
        wait_for(&context.cluster, &ready, context, context.deadline, &context.cancel)
            .await
            .map_err(|error| StepError::from_wait(error, "not ready again", context.started.elapsed()))?;
    }
    Ok(())
}

/// Asks until the answer is as expected.
pub(super) async fn probe(context: &ActionContext, probe: &Probe) -> Result<(), StepError> {
    loop {
        let reason = match once(context, &probe.target).await? {
            Ok(()) => return Ok(()),
            Err(reason) => reason,
        };
        context.waiting(&reason);
        if tokio::time::Instant::now() + PROBE_EVERY >= context.deadline {
            let after = humantime::format_duration(Duration::from_secs(context.started.elapsed().as_secs()));
            return Err(StepError::NotReady {
                what: "no answer as expected".into(),
                after: after.to_string(),
                reason,
            });
        }
        tokio::select! {
            () = tokio::time::sleep(PROBE_EVERY) => {}
            () = context.cancel.cancelled() => return Err(StepError::Cancelled),
        }
    }
}

/// One attempt: `Ok(Err(reason))` is an answer that may still become right.
async fn once(context: &ActionContext, target: &ProbeTarget) -> Result<Result<(), String>, StepError> {
    match target {
        ProbeTarget::Http(http) => {
            let Some((address, path)) = split(&http.url) else {
                return Err(StepError::Never(format!("`{}` is no http URL", http.url)));
            };
            let query = HttpQuery {
                endpoint: Endpoint::Address { address },
                path,
                headers: std::collections::BTreeMap::new(),
                timeout_seconds: None,
            };
            match context.cluster.http(&query).await {
                Ok(answer) if http.status.contains(&answer.status) => Ok(Ok(())),
                Ok(answer) => {
                    Ok(Err(format!("{} answers {}, not {:?}", http.url, answer.status, http.status)))
                }
                // A rehearsal has nothing that could answer; it says so in its report.
                Err(error) if error.kind == ErrorKind::NotInRehearsal => Ok(Ok(())),
                Err(error) => Ok(Err(error.to_string())),
            }
        }
        ProbeTarget::Tcp { address } if context.cluster.info().rehearsal => {
            tracing::debug!(address, "not probed in a rehearsal");
            Ok(Ok(()))
        }
        ProbeTarget::Tcp { address } => match tokio::net::TcpStream::connect(address).await {
            Ok(_) => Ok(Ok(())),
            Err(error) => Ok(Err(format!("{address}: {error}"))),
        },
    }
}

/// Splits `http://host[:port]/path` into `host:port` and `/path`.
fn split(url: &str) -> Option<(String, String)> {
    let rest = url.strip_prefix("http://")?;
    let (host, path) =
        rest.split_once('/').map_or((rest, String::from("/")), |(host, path)| (host, format!("/{path}")));
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    Some((address, path))
}

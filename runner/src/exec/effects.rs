//! The small effects: delete, scale, restart, probe.

use std::time::Duration;

use meshrun_protocol::{
    Delete, Diagnostic, Endpoint, HttpQuery, Label, Probe, ProbeTarget, Restart, Scale, WaitCondition,
    WaitFor,
};
use serde_json::json;
use tokio::{net::TcpStream, time::Instant};

use super::{
    context::ActionContext,
    error::StepError,
    wait::{WaitSink, wait_for},
};
use crate::{
    cluster::{ErrorKind, Object},
    event::{Done, Event},
};

/// Time between two attempts of a probe: what it asks cannot be watched.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// How long an attempt waits for a connection: longer than two lost packets take to be sent again.
const CONNECT: Duration = Duration::from_secs(10);

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

/// Restarts workloads one after another, each ready before the next. One that nobody rolls is not waited for: its pods
/// stay until people delete them.
pub(super) async fn restart(context: &ActionContext, restart: &Restart) -> Result<(), StepError> {
    for workload in &restart.workloads {
        // A workload that is gone has no pods to replace: an earlier step of a destroy may have taken it away.
        let Some(live) = context.cluster.get(workload).await? else { continue };
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let annotations = json!({ "kubectl.kubernetes.io/restartedAt": now });
        let patch = json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } });
        context.cluster.patch(workload, &patch, None).await?;
        context.object_done(workload.clone(), Done::Restarted);
        if let Some(why) = never_rolls(&live) {
            let message = format!("{workload} does not replace its pods, because {why}");
            let diagnostic = Diagnostic::warning("", message).with_hint("delete its pods by hand");
            context.events.send(Event::Diagnosed {
                step: Some(context.step.clone()),
                diagnostic,
                place: None,
            });
            continue;
        }
        let until = WaitCondition::Available { min_replicas: None, nudge: true };
        let ready = [WaitFor { object: workload.clone(), until }];
        wait_for(&context.cluster, &ready, context, context.deadline, &context.cancel)
            .await
            .map_err(|error| StepError::from_wait(error, "not ready again", context.started.elapsed()))?;
    }
    Ok(())
}

/// Why a new pod template of a workload leaves its pods as they are; `None` where they are replaced.
fn never_rolls(workload: &Object) -> Option<&'static str> {
    match workload.kind() {
        "Deployment" if workload.at("/spec/paused") == Some(&json!(true)) => Some("it is paused"),
        "StatefulSet" | "DaemonSet" if workload.text("/spec/updateStrategy/type") == "OnDelete" => {
            Some("its update strategy is OnDelete")
        }
        _ => None,
    }
}

/// Asks until the answer is as expected.
pub(super) async fn probe(context: &ActionContext, probe: &Probe) -> Result<(), StepError> {
    loop {
        let answer = tokio::select! {
            answer = once(context, &probe.target) => answer?,
            () = context.cancel.cancelled() => return Err(StepError::Cancelled),
        };
        let Err(reason) = answer else { return Ok(()) };
        context.waiting(&reason);
        if Instant::now() + PROBE_EVERY >= context.deadline {
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
        ProbeTarget::Tcp { address } => {
            let until = context.deadline.min(Instant::now() + CONNECT);
            match tokio::time::timeout_at(until, TcpStream::connect(address)).await {
                Ok(Ok(_)) => Ok(Ok(())),
                Ok(Err(error)) => Ok(Err(format!("{address}: {error}"))),
                Err(_) => Ok(Err(format!("{address}: it does not take the connection"))),
            }
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use meshrun_protocol::ObjectRef;
    use tokio::net::TcpSocket;

    use super::*;
    use crate::cluster::{
        Cluster,
        flaky::{Fate, Flaky},
        rehearsal::Rehearsal,
    };

    /// An address that takes no more connections, nor refuses them; as long as what is returned with it lives.
    async fn full() -> (String, impl Sized) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let listener = socket.listen(1).expect("a listener");
        let address = listener.local_addr().expect("a bound listener has an address");
        let mut waiting = Vec::new();
        while let Ok(stream) =
            tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
        {
            waiting.push(stream.expect("a connection"));
        }
        (address.to_string(), (listener, waiting))
    }

    fn real() -> Arc<dyn Cluster> {
        Arc::new(Flaky::new(Rehearsal::default(), |_, _| Fate::Answered))
    }

    #[tokio::test]
    async fn probe_of_an_address_that_says_nothing_ends_with_its_time_and_with_the_run() {
        let (address, _full) = full().await;
        let target = Probe { target: ProbeTarget::Tcp { address: address.clone() } };
        let (mut context, _events) = ActionContext::of_test(real());
        context.deadline = Instant::now() + Duration::from_millis(500);
        let probing = tokio::time::timeout(Duration::from_secs(5), probe(&context, &target));
        let error = probing.await.expect("in time").expect_err("nobody answers").to_string();
        assert_eq!(
            error,
            format!("no answer as expected after 0s: {address}: it does not take the connection")
        );

        let (context, _events) = ActionContext::of_test(real());
        let cancel = context.cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            cancel.cancel();
        });
        let probing = tokio::time::timeout(Duration::from_secs(5), probe(&context, &target));
        assert!(matches!(probing.await.expect("in time"), Err(StepError::Cancelled)));
    }

    /// A workload that is up but whose controller replaces no pods.
    fn workload(kind: &str, spec: &serde_json::Value) -> Object {
        let labels = json!({ "app": "shop" });
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": "shop", "namespace": "default" },
            "spec": {
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [{ "name": "shop", "image": "shop" }] },
                },
            },
        });
        for (key, value) in spec.as_object().expect("fields") {
            object["spec"][key] = value.clone();
        }
        Object::new(object).expect("an object")
    }

    /// Restarts a workload that never becomes ready again. Returns what is said instead of waiting, or why the wait ended.
    async fn said(kind: &str, spec: serde_json::Value) -> Result<String, String> {
        let object = workload(kind, &spec);
        let reference: ObjectRef = object.reference();
        let cluster = Rehearsal::builder().never_ready(reference.to_string(), "nobody rolls it").build();
        cluster.create(&object).await.expect("it is new");
        let (context, mut events) = ActionContext::of_test(Arc::new(cluster.clone()));
        let asked = Restart { workloads: vec![reference.clone()], reason: "new proxy".into() };
        let restarted = restart(&context, &asked).await;
        let now = cluster.get(&reference).await.expect("a workload").expect("it is there");
        assert!(now.at("/spec/template/metadata/annotations").is_some(), "{kind} is marked in any case");
        restarted.map_err(|error| error.to_string())?;
        while let Ok(event) = events.try_recv() {
            if let Event::Diagnosed { diagnostic, .. } = event {
                return Ok(format!("{}: {}", diagnostic.message, diagnostic.hint.unwrap_or_default()));
            }
        }
        Ok(String::new())
    }

    #[tokio::test(start_paused = true)]
    async fn restart_does_not_wait_for_workloads_that_nobody_rolls() {
        let on_delete = json!({ "updateStrategy": { "type": "OnDelete" } });
        let text = |kind, why| {
            format!("{kind} default/shop does not replace its pods, because {why}: delete its pods by hand")
        };
        let paused = said("Deployment", json!({ "paused": true })).await;
        assert_eq!(paused, Ok(text("Deployment", "it is paused")));
        for kind in ["StatefulSet", "DaemonSet"] {
            let said = said(kind, on_delete.clone()).await;
            assert_eq!(said, Ok(text(kind, "its update strategy is OnDelete")));
        }
        let rolling = json!({ "updateStrategy": { "type": "RollingUpdate" } });
        for (kind, spec) in [("Deployment", json!({})), ("StatefulSet", rolling)] {
            let error = said(kind, spec).await.expect_err("it is waited for");
            assert!(error.starts_with("not ready again after 1m: "), "{error}");
        }
    }
}

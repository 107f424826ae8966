//! The time from an event in the cluster to meshrun acting on it.
//!
//! Both ends are seen by this one process, with its one clock: it watches the same objects that meshrun waits for, and
//! reads meshrun's `--report json` line by line. A sample is the time from the watch event that makes an object what an
//! action waits for, to the line which says that the action is finished; the next action starts with it. Pipe and
//! report are in the figure, so it is an upper bound; below zero, meshrun's watch was ahead of this one. Waits that had nothing to wait for give no sample.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    core::gvk::GroupVersionKind,
    runtime::watcher,
};
use serde_json::Value;

use crate::{client, subject::Subject};

/// When objects became what is waited for: by kind and name.
type Turns = Arc<Mutex<HashMap<(String, String), Vec<Instant>>>>;

/// One row of [`WAITS`].
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// An action's wait, and the objects it waits for; each must have turned.
const WAITS: [Row; 5] = [
    ("istiod", "available", &[("Deployment", "istiod")]),
    (
        "istiod",
        "webhooks",
        &[
            ("MutatingWebhookConfiguration", "istio-sidecar-injector"),
            ("ValidatingWebhookConfiguration", "istiod-default-validator"),
        ],
    ),
    ("gateway", "available", &[("Deployment", "istio-gateway")]),
    ("gateway", "address", &[("Service", "istio-gateway")]),
    ("kiali", "available", &[("Deployment", "kiali")]),
];

/// Rolls out on an empty cluster; returns the seconds of each sample.
pub(crate) async fn measure(subject: &Subject, kubeconfig: &Path) -> Result<Vec<f64>> {
    let client = client::connect(kubeconfig).await?;
    let turns = Turns::default();
    let admission = "admissionregistration.k8s.io";
    let available = |object: &DynamicObject| {
        let alone = object.metadata.name.as_deref() == Some("kiali");
        client::is_available(object, if alone { 1 } else { 2 })
    };
    let watches = [
        follow(&client, ("apps", "Deployment"), available, &turns),
        follow(&client, ("", "Service"), client::has_address, &turns),
        follow(&client, (admission, "MutatingWebhookConfiguration"), client::is_configured, &turns),
        follow(&client, (admission, "ValidatingWebhookConfiguration"), client::is_configured, &turns),
    ];
    let mut command = subject.rollout("json");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let output = child.stdout.take().context("the output is a pipe")?;
    let lines = tokio::task::spawn_blocking(move || read(output)).await??;
    let status = child.wait()?;
    ensure!(status.success(), "{command:?} failed ({status})");
    for watch in watches {
        watch.abort();
    }
    let turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
    let samples: Vec<f64> = WAITS.iter().filter_map(|wait| sample(*wait, &lines, &turns)).collect();
    ensure!(!samples.is_empty(), "no wait of meshrun's gave a sample: the bench must follow its report");
    Ok(samples)
}

fn sample(
    (step, action, objects): (&str, &str, &[(&str, &str)]),
    lines: &[(Instant, Value)],
    turns: &HashMap<(String, String), Vec<Instant>>,
) -> Option<f64> {
    let time_of = |event: &str| {
        let is_it = |line: &&(Instant, Value)| {
            line.1["event"] == event && line.1["step"] == step && line.1["action"] == action
        };
        lines.iter().find(is_it).map(|line| line.0)
    };
    let (started, finished) = (time_of("action-started")?, time_of("action-finished")?);
    // An object can turn back and forth: what meshrun acted on is the last turn before it did, or one that its watch
    // saw ahead of this one.
    let turned = objects.iter().map(|(kind, name)| {
        let all = turns.get(&((*kind).into(), (*name).into()))?;
        all.iter().rev().find(|turn| **turn <= finished).or(all.first())
    });
    let turned = turned.collect::<Option<Vec<_>>>()?.into_iter().max()?;
    let lead = turned.saturating_duration_since(finished).as_secs_f64();
    (*turned > started).then(|| finished.saturating_duration_since(*turned).as_secs_f64() - lead)
}

fn read(output: impl std::io::Read) -> Result<Vec<(Instant, Value)>> {
    let mut lines = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        lines.push((Instant::now(), serde_json::from_str(&line)?));
    }
    Ok(lines)
}

/// Notes each time when an object of a kind became what is waited for.
fn follow(
    client: &Client,
    (group, kind): (&str, &str),
    is_ready: impl Fn(&DynamicObject) -> bool + Send + Sync + 'static,
    turns: &Turns,
) -> tokio::task::JoinHandle<()> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let (turns, kind) = (Arc::clone(turns), kind.to_owned());
    tokio::spawn(async move {
        let mut ready = HashMap::new();
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
        while let Some(event) = events.next().await {
            let now = Instant::now();
            let Ok(watcher::Event::Apply(object)) = event else { continue };
            let name = object.metadata.name.clone().unwrap_or_default();
            let is_ready = is_ready(&object);
            let was_ready = ready.insert(name.clone(), is_ready).unwrap_or(false);
            if is_ready && !was_ready {
                turns
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .entry((kind.clone(), name))
                    .or_default()
                    .push(now);
            }
        }
    })
}

//! What the floor and the reaction time need of a Kubernetes client: where kinds are found, and waiting by watch.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject},
    config::{KubeConfigOptions, Kubeconfig},
    core::gvk::GroupVersionKind,
    discovery::{Discovery, Scope},
    runtime::watcher,
};
use serde_json::Value;

/// Where the kinds of a cluster are found.
pub(crate) type Kinds = HashMap<GroupVersionKind, (ApiResource, bool)>;

pub(crate) async fn connect(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // On the same connections as meshrun: the floor is not to be slower for how it sends.
    Ok(meshrun::cluster::live::client(config)?)
}

pub(crate) async fn kinds(client: &Client) -> Result<Kinds> {
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    let mut kinds = Kinds::new();
    for group in discovery.groups() {
        for (resource, capabilities) in
            group.versions().flat_map(|version| group.versioned_resources(version))
        {
            let kind = GroupVersionKind::gvk(&resource.group, &resource.version, &resource.kind);
            kinds.insert(kind, (resource, capabilities.scope == Scope::Namespaced));
        }
    }
    Ok(kinds)
}

/// The collection of an object's kind, in its namespace.
pub(crate) fn api(client: &Client, kinds: &Kinds, object: &Value) -> Result<Api<DynamicObject>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let known = kinds.get(&GroupVersionKind::gvk(group, version, &kind));
    let (resource, namespaced) = known.with_context(|| format!("nothing serves {api_version} {kind}"))?;
    Ok(match (namespaced, object["metadata"]["namespace"].as_str()) {
        (true, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, resource),
        _ => Api::all_with(client.clone(), resource),
    })
}

/// Waits by one watch until each of the named objects is as it should be.
pub(crate) async fn wait_for(
    api: Api<DynamicObject>,
    names: impl IntoIterator<Item = String>,
    is_ready: impl Fn(&DynamicObject) -> bool,
) -> Result<()> {
    let mut pending: Vec<String> = names.into_iter().collect();
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
    while !pending.is_empty() {
        let (watcher::Event::Apply(object) | watcher::Event::InitApply(object)) =
            events.try_next().await?.context("a watch has no end")?
        else {
            continue;
        };
        let name = object.metadata.name.clone().unwrap_or_default();
        if is_ready(&object) {
            pending.retain(|other| *other != name);
        }
    }
    Ok(())
}

/// Whether a workload has all its replicas: new ones, ready ones, no others.
pub(crate) fn is_available(object: &DynamicObject, at_least: u64) -> bool {
    let data = &object.data;
    let number = |path: &str| data.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    let replicas = number("/spec/replicas");
    let seen =
        object.metadata.generation == data.pointer("/status/observedGeneration").and_then(Value::as_i64);
    let all = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"];
    seen && replicas >= at_least && all.iter().all(|field| number(&format!("/status/{field}")) == replicas)
}

/// Whether istiod has configured every webhook: a certificate, and closed on failure.
pub(crate) fn is_configured(object: &DynamicObject) -> bool {
    let webhooks = object.data["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    webhooks.iter().all(|webhook| {
        webhook["failurePolicy"] == "Fail"
            && webhook["clientConfig"]["caBundle"].as_str().is_some_and(|bundle| !bundle.is_empty())
    })
}

/// Whether a Service of type LoadBalancer has an address.
pub(crate) fn has_address(object: &DynamicObject) -> bool {
    object.data.pointer("/status/loadBalancer/ingress/0").is_some()
}

/// Parses YAML documents, one after another.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for document in format!("\n{text}").split("\n---") {
        if document.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            continue;
        }
        match serde_saphyr::from_str(document)? {
            Value::Null => {}
            object @ Value::Object(_) => all.push(object),
            other => bail!("not an object: {other}"),
        }
    }
    Ok(all)
}

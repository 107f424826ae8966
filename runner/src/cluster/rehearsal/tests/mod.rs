//! What a rehearsed cluster does, as the engine sees it through the trait.

mod charts;
mod controllers;
mod requests;
mod watches;

use meshrun_protocol::{ListQuery, ObjectRef};
use serde_json::{Value, json};

use super::Rehearsal;
use crate::cluster::{ApplyOptions, Cluster, ErrorKind, Object, Result};

fn object(value: Value) -> Object {
    Object::new(value).expect("an object")
}

fn by(manager: &str) -> ApplyOptions {
    ApplyOptions { manager: manager.into(), force: false, dry_run: false }
}

async fn apply(cluster: &Rehearsal, value: Value) -> Result<Object> {
    cluster.apply(&object(value), &by("meshrun")).await
}

async fn get(cluster: &Rehearsal, reference: &ObjectRef) -> Object {
    cluster.get(reference).await.expect("an answer").expect("an object")
}

async fn list(cluster: &Rehearsal, api_version: &str, kind: &str, labels: Option<&str>) -> Vec<Object> {
    let query = ListQuery {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: None,
        labels: labels.map(Into::into),
    };
    cluster.list(&query).await.expect("an answer")
}

async fn names(cluster: &Rehearsal, api_version: &str, kind: &str, labels: Option<&str>) -> Vec<String> {
    list(cluster, api_version, kind, labels).await.iter().map(|object| object.name().to_owned()).collect()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, text: &str) {
    let error = result.expect_err("a refusal");
    assert_eq!((error.to_string().as_str(), error.kind), (text, kind));
}

fn config_map(data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "mesh", "namespace": "default" },
        "data": data,
    })
}

fn config_map_ref() -> ObjectRef {
    ObjectRef::namespaced("v1", "ConfigMap", "default", "mesh")
}

fn deployment(replicas: u64, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "istiod", "namespace": "default", "labels": { "app": "istiod" } },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "istiod" } },
            "template": {
                "metadata": { "labels": { "app": "istiod" } },
                "spec": { "containers": [{
                    "name": "discovery", "image": image,
                    "ports": [{ "name": "https-webhook", "containerPort": 15017 }],
                }] },
            },
        },
    })
}

fn deployment_ref() -> ObjectRef {
    ObjectRef::namespaced("apps/v1", "Deployment", "default", "istiod")
}

fn crd() -> Value {
    let schema = json!({ "openAPIV3Schema": {
        "type": "object",
        "properties": { "spec": { "type": "object", "properties": { "host": { "type": "string" } } } },
    } });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "gateways.networking.istio.io" },
        "spec": {
            "group": "networking.istio.io",
            "scope": "Namespaced",
            "names": { "kind": "Gateway", "plural": "gateways" },
            "versions": [
                { "name": "v1beta1", "served": true, "storage": true, "schema": schema },
                { "name": "v1", "served": true, "storage": false, "schema": schema },
            ],
        },
    })
}

fn crd_ref() -> ObjectRef {
    ObjectRef::cluster("apiextensions.k8s.io/v1", "CustomResourceDefinition", "gateways.networking.istio.io")
}

fn gateway(host: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1beta1", "kind": "Gateway",
        "metadata": { "name": "default-gateway", "namespace": "default" },
        "spec": { "host": host },
    })
}

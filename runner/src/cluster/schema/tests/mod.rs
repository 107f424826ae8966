//! What is found in objects of built-in and custom kinds.

mod real_crds;

use serde_json::{Value, json};

use super::Schemas;
use crate::cluster::{Object, Scope};

fn object(value: Value) -> Object {
    Object::new(value).expect("an object")
}

/// Compares everything that is wrong with an object, one line each, with what is expected.
#[track_caller]
fn check_in(schemas: &Schemas, value: Value, errors: &[&str]) {
    let found: Vec<_> = schemas.validate(&object(value)).iter().map(ToString::to_string).collect();
    assert_eq!(found, errors);
}

#[track_caller]
fn check(value: Value, errors: &[&str]) {
    check_in(&Schemas::default(), value, errors);
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "istiod", "annotations": null, "creationTimestamp": null },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "istio": "pilot" } },
            "template": {
                "metadata": { "labels": { "istio": "pilot" } },
                "spec": { "containers": [{
                    "name": "discovery",
                    "image": "pilot:1.19.3",
                    "env": [{ "name": "REVISION", "value": "default" }],
                    "ports": [{ "containerPort": 15010 }, { "containerPort": 15010, "protocol": "UDP" }],
                    "resources": { "requests": { "cpu": 1, "memory": "2Gi" } },
                    "readinessProbe": { "httpGet": { "path": "/ready", "port": "http" } },
                }] },
            },
        },
    })
}

/// A deployment with a value put at a JSON pointer whose parent exists.
fn deployment_with(pointer: &str, value: Value) -> Value {
    let mut deployment = deployment();
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    match deployment.pointer_mut(parent).expect("a parent") {
        Value::Array(items) => items.push(value),
        parent => parent[field] = value,
    }
    deployment
}

#[test]
fn accepts_a_sound_deployment() {
    check(deployment(), &[]);
}

#[test]
fn finds_a_value_of_the_wrong_type() {
    check(deployment_with("/spec/replicas", json!("two")), &["spec.replicas: expected integer, got \"two\""]);
    check(
        deployment_with("/spec/template/spec/containers/0/args", json!("discovery")),
        &["spec.template.spec.containers[0].args: expected list, got \"discovery\""],
    );
    check(deployment_with("/spec/selector", json!([])), &["spec.selector: expected object, got a list"]);
    check(
        deployment_with("/spec/template/spec/containers/0/resources/requests/cpu", json!(true)),
        &["spec.template.spec.containers[0].resources.requests.cpu: expected quantity, got true"],
    );
}

#[test]
fn finds_what_is_no_quantity() {
    check(
        deployment_with("/spec/template/spec/containers/0/resources/requests/memory", json!("128MB")),
        &["spec.template.spec.containers[0].resources.requests.memory: expected quantity, got \"128MB\""],
    );
}

#[test]
fn finds_the_boolean_annotation_of_the_guide() {
    let name = "service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled";
    check(
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": "istio-gateway", "annotations": { name: true } },
            "spec": { "ports": [{ "port": 80 }] },
        }),
        &[&format!("metadata.annotations[\"{name}\"]: expected string, got true")],
    );
}

#[test]
fn finds_unknown_and_missing_fields_of_built_in_kinds() {
    check(deployment_with("/spec/replcas", json!(1)), &["spec.replcas: unknown field"]);
    let mut deployment = deployment();
    let spec = deployment["spec"].as_object_mut().expect("a spec");
    let selector = spec.remove("selector").expect("a selector");
    check(Value::clone(&deployment), &["spec.selector: required field is missing"]);
    deployment["spec"]["selectr"] = selector;
    check(deployment, &["spec.selectr: unknown field, did you mean \"selector\"?"]);
}

#[test]
fn finds_list_entries_with_the_same_key() {
    check(
        deployment_with(
            "/spec/template/spec/containers/0/env/-",
            json!({ "name": "REVISION", "value": "1" }),
        ),
        &["spec.template.spec.containers[0].env: duplicate entries for key [name=\"REVISION\"]"],
    );
}

#[test]
fn finds_an_unknown_kind() {
    check(
        json!({ "apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": { "name": "x" } }),
        &["no matches for kind \"Deployment\" in version \"apps/v1beta1\""],
    );
}

fn widgets() -> Object {
    object(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.example.com" },
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": { "kind": "Widget", "plural": "widgets" },
            "versions": [
                { "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": { "spec": {
                        "type": "object",
                        "required": ["size"],
                        "properties": {
                            "size": { "type": "integer", "minimum": 0, "exclusiveMinimum": true },
                            "port": { "x-kubernetes-int-or-string": true },
                            "mode": { "type": "string", "enum": ["ON", "OFF"], "nullable": true },
                            "free": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                            "pod": {
                                "type": "object",
                                "x-kubernetes-embedded-resource": true,
                                "properties": { "spec": { "type": "object" } },
                            },
                            "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                            "parts": { "type": "array", "items": {
                                "type": "object",
                                "properties": { "name": { "type": "string", "pattern": "^[a-z]+$" } },
                            } },
                            "from": {
                                "type": "object",
                                "properties": { "file": { "type": "string" }, "url": { "type": "string" } },
                                "oneOf": [{ "required": ["file"] }, { "required": ["url"] }],
                            },
                        },
                    } },
                } } },
                { "name": "v1alpha1", "served": false, "storage": false },
            ],
        },
    }))
}

#[track_caller]
fn check_widget(spec: Value, errors: &[&str]) {
    let crd = widgets();
    let widget = json!({
        "apiVersion": "example.com/v1", "kind": "Widget", "metadata": { "name": "x" }, "spec": spec,
    });
    check_in(&Schemas::with_crds([&crd].into_iter()), widget, errors);
}

#[test]
fn knows_the_apis_of_crds_that_are_served() {
    let crd = widgets();
    let mut schemas = Schemas::with_crds([&crd].into_iter());
    assert_eq!(schemas.scope("example.com/v1", "Widget"), Some(Scope::Cluster));
    assert_eq!(schemas.scope("example.com/v1alpha1", "Widget"), None);
    assert_eq!(schemas.scope("v1", "Pod"), Some(Scope::Namespaced));
    schemas.remove_crd("widgets.example.com");
    assert_eq!(schemas.scope("example.com/v1", "Widget"), None);
}

#[test]
fn accepts_what_the_extensions_of_kubernetes_allow() {
    check_widget(
        json!({
            "size": 1,
            "port": "http",
            "mode": null,
            "free": { "any": { "thing": 1 } },
            "pod": { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "x" }, "spec": {} },
            "labels": { "a": "b" },
            "parts": [{ "name": "a" }],
            "from": { "url": "x" },
        }),
        &[],
    );
    check_widget(json!({ "size": 1, "port": 80 }), &[]);
}

#[test]
fn finds_what_the_schema_of_a_crd_refuses() {
    check_widget(json!({}), &["spec.size: required field is missing"]);
    check_widget(json!({ "size": 0 }), &["spec.size: 0 is less than or equal to the minimum of 0"]);
    check_widget(json!({ "size": 1, "port": [] }), &["spec.port: expected integer or string, got a list"]);
    check_widget(json!({ "size": 1, "mode": "ONN" }), &["spec.mode: expected one of ON, OFF, got \"ONN\""]);
    check_widget(
        json!({ "size": 1, "parts": [{ "name": "A1", "nam": "x" }] }),
        &[
            "spec.parts[0].nam: unknown field, did you mean \"name\"?",
            "spec.parts[0].name: \"A1\" does not match ^[a-z]+$",
        ],
    );
    check_widget(json!({ "size": 1, "from": {} }), &["spec.from: needs one of file, url"]);
    check_widget(
        json!({ "size": 1, "from": { "file": "x", "url": "y" } }),
        &["spec.from: fits more than one of the alternatives in its schema"],
    );
    check_widget(json!({ "size": 1, "labels": { "a": 1 } }), &["spec.labels.a: expected string, got 1"]);
}

#[test]
fn finds_a_wrong_annotation_of_a_custom_object() {
    let crd = widgets();
    check_in(
        &Schemas::with_crds([&crd].into_iter()),
        json!({
            "apiVersion": "example.com/v1",
            "kind": "Widget",
            "metadata": { "name": "x", "annotations": { "a": 1 } },
            "spec": { "size": 1 },
        }),
        &["metadata.annotations.a: expected string, got 1"],
    );
}

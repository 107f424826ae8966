//! Services get EndpointSlices of the pods that they select, and load balancers an address.

use serde_json::{Value, json};

use super::{Readiness, Simulation, is_true, object, of_kind, owner, pods, put_status, warn};
use crate::cluster::{
    Object,
    rehearsal::store::{Store, Stored},
};

/// The address of every load balancer: a name that never resolves (RFC 2606).
const ADDRESS: &str = "rehearsal.invalid";

pub(super) fn run(store: &mut Store, simulation: &Simulation) {
    for service in of_kind(store, "", "Service") {
        if service.object.text("/spec/type") == "LoadBalancer" {
            balance(store, simulation, &service);
        }
        if let Some(slice) = endpoints(store, &service.object) {
            store.put(slice);
        }
    }
}

/// The pods that a Service selects; none where it has no selector.
pub(super) fn selected<'a>(store: &'a Store, service: &'a Object) -> impl Iterator<Item = &'a Object> {
    let selector =
        service.at("/spec/selector").and_then(Value::as_object).filter(|labels| !labels.is_empty());
    store.in_namespace("", "Pod", service.namespace()).map(|stored| &stored.object).filter(move |pod| {
        selector.is_some_and(|labels| {
            labels.iter().all(|(key, value)| pod.label(key).is_some() && pod.label(key) == value.as_str())
        })
    })
}

fn balance(store: &mut Store, simulation: &Simulation, service: &Stored) {
    match simulation.readiness(service) {
        Readiness::Ready if simulation.load_balancer => {
            let status = json!({ "loadBalancer": { "ingress": [{ "hostname": ADDRESS }] } });
            put_status(store, &service.object, status);
        }
        Readiness::Never(reason, message) => warn(store, &service.object, &reason, &message),
        Readiness::Ready | Readiness::NotYet => {}
    }
}

fn endpoints(store: &Store, service: &Object) -> Option<Object> {
    service.at("/spec/selector")?;
    let pods: Vec<&Object> = selected(store, service).collect();
    let endpoints: Vec<_> = pods
        .iter()
        .map(|pod| {
            let ready = is_true(pod, "Ready");
            json!({
                "addresses": [pod.text("/status/podIP")],
                "conditions": { "ready": ready, "serving": ready, "terminating": false },
                "targetRef": {
                    "kind": "Pod", "name": pod.name(), "namespace": pod.namespace(), "uid": pod.uid(),
                },
            })
        })
        .collect();
    let ports: Vec<_> = service
        .items("/spec/ports")
        .iter()
        .map(|port| {
            json!({
                "name": port.get("name").unwrap_or(&json!("")),
                "protocol": port.get("protocol").unwrap_or(&json!("TCP")),
                "port": target_port(port, pods.first().copied()),
            })
        })
        .collect();
    let suffix = pods::hash(&json!(service.uid()));
    Some(object(json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{}-{}", service.name(), &suffix[..5]), "namespace": service.namespace(),
            "labels": { "kubernetes.io/service-name": service.name() }, "ownerReferences": owner(service),
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    })))
}

/// The container port behind a Service's port, which may name it.
fn target_port(port: &Value, pod: Option<&Object>) -> Value {
    match port.get("targetPort") {
        None => port["port"].clone(),
        Some(Value::String(name)) => pod
            .into_iter()
            .flat_map(|pod| pod.items("/spec/containers"))
            .flat_map(|container| container["ports"].as_array().into_iter().flatten())
            .find(|port| port["name"] == name.as_str())
            .map_or_else(|| port["port"].clone(), |port| port["containerPort"].clone()),
        Some(number) => number.clone(),
    }
}

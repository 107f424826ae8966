//! Which pods are in the mesh and which should be: the rules of Istio's injector, applied to objects.
//!
//! Source of the rules: `pkg/kube/inject/inject.go` of Istio 1.19.3 and 1.30.3.

use meshrun_plugin_common::name_of;
use meshrun_sdk::serde_json::Value;

use crate::{items, namespace_of};

/// Namespaces the injector never touches.
const NEVER_INJECTED: &[&str] = &["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];
const INJECT: &str = "sidecar.istio.io/inject";
const PROXY: &str = "istio-proxy";

/// Whether new pods of a namespace get a sidecar: `istio-injection` goes before `istio.io/rev`.
pub fn injects(namespace: &Value) -> bool {
    if NEVER_INJECTED.contains(&name_of(namespace)) {
        return false;
    }
    match label(namespace, "istio-injection") {
        Some(value) => value == "enabled",
        None => label(namespace, "istio.io/rev").is_some_and(|revision| !revision.is_empty()),
    }
}

/// Whether a pod runs the proxy, as an ordinary container or as a native sidecar among the init containers.
pub fn has_proxy(pod: &Value) -> bool {
    containers(pod).any(|name| name == PROXY)
}

/// Whether a pod is an application with a sidecar; a gateway's only container is the proxy itself.
pub fn is_meshed(pod: &Value) -> bool {
    has_proxy(pod) && items(&pod["spec"]["containers"]).iter().any(|container| container["name"] != PROXY)
}

/// Whether a pod was kept out of the mesh on purpose: by label or annotation, or because it uses the host's network.
pub fn opted_out(pod: &Value) -> bool {
    let metadata = &pod["metadata"];
    metadata["labels"][INJECT] == "false"
        || metadata["annotations"][INJECT] == "false"
        || pod["spec"]["hostNetwork"] == true
}

/// Whether a pod has ended and sends nothing any more.
pub fn finished(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// Returns the pods that should have a sidecar and have none.
pub fn uninjected<'a>(namespaces: &[Value], pods: &'a [Value]) -> Vec<&'a Value> {
    pods.iter().filter(|pod| wants_sidecar(namespaces, pod) && !has_proxy(pod)).collect()
}

fn wants_sidecar(namespaces: &[Value], pod: &Value) -> bool {
    let home = namespace_of(pod);
    if finished(pod) || opted_out(pod) || NEVER_INJECTED.contains(&home) {
        return false;
    }
    let asks_itself = label(pod, INJECT) == Some("true");
    asks_itself || namespaces.iter().any(|object| name_of(object) == home && injects(object))
}

fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["labels"][key].as_str()
}

fn containers(pod: &Value) -> impl Iterator<Item = &str> {
    let spec = &pod["spec"];
    items(&spec["containers"])
        .iter()
        .chain(items(&spec["initContainers"]))
        .filter_map(|container| container["name"].as_str())
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::serde_json::json;

    use super::*;

    fn pod(spec: Value) -> Value {
        json!({ "metadata": { "name": "web", "namespace": "shop" }, "spec": spec })
    }

    #[test]
    fn the_injection_label_goes_before_the_revision() {
        let namespace = |labels: Value| json!({ "metadata": { "name": "shop", "labels": labels } });
        assert!(injects(&namespace(json!({ "istio-injection": "enabled" }))));
        assert!(injects(&namespace(json!({ "istio.io/rev": "1-30" }))));
        assert!(!injects(&namespace(json!({ "istio-injection": "disabled", "istio.io/rev": "1-30" }))));
        assert!(!injects(&namespace(json!({}))));
        assert!(!injects(
            &json!({ "metadata": { "name": "kube-system", "labels": { "istio.io/rev": "x" } } })
        ));
    }

    #[test]
    fn a_native_sidecar_counts() {
        let native = pod(json!({
            "containers": [{ "name": "web" }], "initContainers": [{ "name": "istio-proxy" }],
        }));
        assert!(has_proxy(&native) && is_meshed(&native));
    }

    #[test]
    fn a_gateway_has_a_proxy_and_is_no_meshed_application() {
        let gateway = pod(json!({ "containers": [{ "name": "istio-proxy" }] }));
        assert!(has_proxy(&gateway) && !is_meshed(&gateway));
    }

    #[test]
    fn names_pods_that_should_have_a_sidecar_and_skips_those_kept_out() {
        let namespaces =
            [json!({ "metadata": { "name": "shop", "labels": { "istio-injection": "enabled" } } })];
        let bare = json!({ "containers": [{ "name": "web" }] });
        let mut off = pod(bare.clone());
        off["metadata"]["labels"] = json!({ "sidecar.istio.io/inject": "false" });
        let mut done = pod(bare.clone());
        done["status"] = json!({ "phase": "Succeeded" });
        let pods = [
            pod(bare.clone()),
            pod(json!({ "containers": [{ "name": "web" }, { "name": "istio-proxy" }] })),
            pod(json!({ "containers": [{ "name": "agent" }], "hostNetwork": true })),
            off,
            done,
        ];
        assert_eq!(uninjected(&namespaces, &pods), [&pods[0]]);
    }

    #[test]
    fn a_pod_that_asks_for_a_sidecar_itself_should_have_one() {
        let mut asks = pod(json!({ "containers": [{ "name": "web" }] }));
        asks["metadata"]["labels"] = json!({ "sidecar.istio.io/inject": "true" });
        assert_eq!(uninjected(&[], std::slice::from_ref(&asks)).len(), 1);
    }
}

//! Reading what a cluster says about itself.

use std::collections::BTreeMap;

use meshrun_sdk::{
    prelude::{Cx, Endpoint, ListQuery, ObjectRef, Result, Value},
    serde_json,
};

use crate::{ControlPlane, IstioVersion, object::reference_to};

/// Port of istiod's `/version` and `/metrics`.
const ISTIOD_MONITORING: u16 = 15014;

/// Returns objects of one kind; `None` for the namespace means all of them, an empty selector takes every object.
///
/// # Errors
/// When the cluster cannot be read.
pub fn list(
    cx: &Cx<'_>,
    api_version: &str,
    kind: &str,
    namespace: Option<&str>,
    labels: &str,
) -> Result<Vec<Value>> {
    cx.list(&ListQuery {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        labels: (!labels.is_empty()).then(|| labels.to_owned()),
    })
}

/// Returns the pods that are meant to run (neither finished nor on their way out).
///
/// # Errors
/// When the cluster cannot be read.
pub fn pods(cx: &Cx<'_>, namespace: Option<&str>, labels: &str) -> Result<Vec<Value>> {
    let mut pods = list(cx, "v1", "Pod", namespace, labels)?;
    pods.retain(|pod| {
        let finished = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        !finished && pod["metadata"]["deletionTimestamp"].is_null()
    });
    Ok(pods)
}

/// Returns the pods of a control plane.
///
/// # Errors
/// When the cluster cannot be read.
pub fn istiod_pods(cx: &Cx<'_>, plane: &ControlPlane) -> Result<Vec<Value>> {
    pods(cx, Some(&plane.namespace), &plane.pod_selector())
}

/// Asks an istiod pod which version runs in it: `1.19.3`. The image tag only says what was ordered.
///
/// # Errors
/// When the pod does not answer, or not as istiod does.
pub fn running_version(cx: &Cx<'_>, pod: &Value) -> Result<String> {
    let answer = cx.http_get(Endpoint::of_pod(&reference(pod), ISTIOD_MONITORING), "/version")?;
    let text = answer.body.trim();
    // Version, commit and state of the build: `1.19.3-ab7a9b5c-Clean`.
    let version = text.rsplitn(3, '-').nth(2).unwrap_or(text);
    if answer.status == 200 && version.starts_with(|c: char| c.is_ascii_digit()) {
        Ok(version.to_owned())
    } else {
        Err(meshrun_sdk::Error::new(format!(
            "istiod answered /version with status {}: {text}",
            answer.status
        )))
    }
}

/// The version that a control plane was ordered with: the image tag in its Deployment. `None` where there is no such
/// Deployment, or its tag names no version.
///
/// # Errors
/// When the cluster cannot be read.
pub fn ordered_version(cx: &Cx<'_>, plane: &ControlPlane) -> Result<Option<IstioVersion>> {
    let Some(deployment) = cx.get(&plane.deployment())? else { return Ok(None) };
    let containers = deployment.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let discovery = containers.into_iter().flatten().find(|container| container["name"] == "discovery");
    Ok(discovery.and_then(|container| version_in(container["image"].as_str()?)))
}

/// Version in an image's tag: `docker.io/istio/pilot:1.19.3-distroless`.
pub fn version_in(image: &str) -> Option<IstioVersion> {
    let (_, tag) = image.split('@').next()?.rsplit_once(':')?;
    let tag = tag.trim_end_matches("-distroless").trim_end_matches("-debug");
    tag.parse().ok()
}

/// Status of a condition (`True`, `False`, `Unknown`), where the object has it.
pub fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition["type"] == name)?["status"].as_str()
}

/// Whether the condition `Ready` is `True`.
pub fn is_ready(object: &Value) -> bool {
    condition(object, "Ready") == Some("True")
}

/// Name of an object; empty where it has none.
pub fn name_of(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// Names the object that a value holds.
pub fn reference(object: &Value) -> ObjectRef {
    reference_to(object)
}

/// Labels of an object.
pub fn labels_of(object: &Value) -> BTreeMap<String, String> {
    object
        .pointer("/metadata/labels")
        .and_then(|labels| serde_json::from_value(labels.clone()).ok())
        .unwrap_or_default()
}

/// Containers of a pod with their images, init containers first (a native sidecar is one of them).
pub fn containers(pod: &Value) -> Vec<(&str, &str)> {
    let of = |pointer: &str| pod.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    of("/spec/initContainers")
        .chain(of("/spec/containers"))
        .map(|container| {
            (container["name"].as_str().unwrap_or_default(), container["image"].as_str().unwrap_or_default())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{prelude::json, testing::FakeCluster};

    use super::*;

    fn istiod(name: &str, phase: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": "istio-system", "labels": { "app": "istiod", "istio.io/rev": "default" },
            },
            "status": { "phase": phase, "conditions": [{ "type": "Ready", "status": "True" }] },
        })
    }

    #[test]
    fn finished_pods_do_not_count() -> Result<()> {
        let cluster =
            FakeCluster::new().with(istiod("istiod-a", "Running")).with(istiod("istiod-b", "Failed"));
        let pods = istiod_pods(&cluster.cx("istiod"), &ControlPlane::new("istio-system", None))?;
        assert_eq!(pods.iter().map(name_of).collect::<Vec<_>>(), ["istiod-a"]);
        assert!(is_ready(&pods[0]));
        Ok(())
    }

    #[test]
    fn version_is_read_from_image_tags() {
        let version = |image: &str| version_in(image).map(|version| version.to_string());
        assert_eq!(version("docker.io/istio/pilot:1.19.3-distroless").as_deref(), Some("1.19.3"));
        assert_eq!(version("registry:5000/istio/proxyv2:1.30.3@sha256:abc").as_deref(), Some("1.30.3"));
        assert_eq!(version("auto"), None);
        assert_eq!(version("registry:5000/proxyv2"), None);
    }

    #[test]
    fn version_is_what_istiod_says() -> Result<()> {
        let cluster = FakeCluster::new()
            .answering("pod istio-system/istiod-a:15014/version", 200, "1.19.3-ab7a9b5c-Clean\n")
            .answering("pod istio-system/istiod-b:15014/version", 404, "404 page not found");
        let cx = cluster.cx("istiod");
        assert_eq!(running_version(&cx, &istiod("istiod-a", "Running"))?, "1.19.3");
        let error = running_version(&cx, &istiod("istiod-b", "Running")).expect_err("no version");
        assert_eq!(error.to_string(), "istiod answered /version with status 404: 404 page not found");
        Ok(())
    }
}

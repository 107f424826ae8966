//! How far apart control plane and data plane may be: the control plane leads, by one minor at most.

use meshrun_sdk::prelude::{Cx, Diagnostic, Result, Value};

use crate::{ControlPlane, IstioVersion, containers, name_of, pods, version_in};

/// Annotation of an injected pod: the revision of the istiod that injected it.
const REVISION: &str = "istio.io/rev";

/// A pod with a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `namespace/name` of the pod.
    pub pod: String,
    /// Version of the proxy, by its image tag.
    pub version: IstioVersion,
}

/// Returns the proxies that a control plane injected, gateways included. A pod keeps its proxy until it is made anew,
/// so this is the data plane as it is, not as it was ordered. Proxies with a tag that names no version are left out.
///
/// # Errors
/// When the cluster cannot be read.
pub fn proxies(cx: &Cx<'_>, plane: &ControlPlane) -> Result<Vec<Proxy>> {
    // An annotation, which the API cannot select by.
    let pods = pods(cx, None, "")?;
    let injected = pods.iter().filter(|pod| pod["metadata"]["annotations"][REVISION] == plane.rev());
    let proxy = |pod: &Value| {
        let proxy = containers(pod).into_iter().find(|(container, _)| *container == "istio-proxy")?;
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
        Some(Proxy { pod: format!("{namespace}/{}", name_of(pod)), version: version_in(proxy.1)? })
    };
    Ok(injected.filter_map(proxy).collect())
}

/// A finding that refuses a step for the sake of versions; a warning where the user insists (`--allow-skip`).
pub fn refuse_skew(cx: &Cx<'_>, path: &str, message: String) -> Diagnostic {
    if cx.allow_skip() { Diagnostic::warning(path, message) } else { Diagnostic::error(path, message) }
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{prelude::json, testing::FakeCluster};

    use super::*;

    fn pod(name: &str, revision: &str, containers: &Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": "shop", "annotations": { "istio.io/rev": revision } },
            "spec": containers,
        })
    }

    #[test]
    fn proxies_are_those_of_the_control_plane_native_sidecars_too() -> Result<()> {
        let proxy =
            |version: &str| json!([{ "name": "istio-proxy", "image": format!("istio/proxyv2:{version}") }]);
        let cluster = FakeCluster::new()
            .with(pod("a", "default", &json!({ "containers": proxy("1.28.2") })))
            .with(pod("b", "default", &json!({ "containers": [], "initContainers": proxy("1.29.6") })))
            .with(pod(
                "waiting",
                "default",
                &json!({ "containers": [{ "name": "istio-proxy", "image": "auto" }] }),
            ))
            .with(pod(
                "istiod",
                "default",
                &json!({ "containers": [{ "name": "discovery", "image": "pilot:1.30.3" }] }),
            ))
            .with(pod("canary", "1-30", &json!({ "containers": proxy("1.30.3") })));
        let found = proxies(&cluster.cx("istiod"), &ControlPlane::new("istio-system", None))?;
        let lines: Vec<_> = found.iter().map(|proxy| format!("{} {}", proxy.pod, proxy.version)).collect();
        assert_eq!(lines, ["shop/a 1.28.2", "shop/b 1.29.6"]);
        Ok(())
    }
}

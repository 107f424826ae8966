//! What an istiod that is there already means for the one that is asked for.

use meshrun_plugin_common::IstioVersion;
use meshrun_sdk::prelude::{Cx, Diagnostic, ObjectRef, Result, Value};

use crate::Config;

/// Says whether the version asked for may follow the one that is there, and whether the namespace has the network's
/// label.
pub(crate) fn findings(config: &Config, cx: &Cx<'_>) -> Result<Vec<Diagnostic>> {
    let mut found: Vec<Diagnostic> =
        config.version.kubernetes("/version", &cx.cluster().kubernetes_version).into_iter().collect();
    if let Some(installed) = cx.get(&config.control_plane().deployment())?.as_ref().and_then(ordered_version)
    {
        found.extend(jump(config, &installed));
    }
    if let Some(namespace) = cx.get(&ObjectRef::cluster("v1", "Namespace", &config.namespace))? {
        found.extend(network_label(config, &namespace));
    }
    Ok(found)
}

/// Version in the image tag of a Deployment's container `discovery`.
pub(crate) fn ordered_version(deployment: &Value) -> Option<IstioVersion> {
    let containers = deployment.pointer("/spec/template/spec/containers")?.as_array()?;
    let image = containers.iter().find(|container| container["name"] == "discovery")?["image"].as_str()?;
    version_in(image)
}

/// Version in an image's tag: `docker.io/istio/pilot:1.19.3-distroless`.
pub(crate) fn version_in(image: &str) -> Option<IstioVersion> {
    let (_, tag) = image.rsplit_once(':')?;
    let tag = tag.trim_end_matches("-distroless").trim_end_matches("-debug");
    tag.parse().ok()
}

fn jump(config: &Config, installed: &IstioVersion) -> Option<Diagnostic> {
    let ((from_major, from), (to_major, to)) = (installed.minor(), config.version.minor());
    let message = format!("{installed} is installed, {} is asked for", config.version);
    if from_major == to_major && from.abs_diff(to) <= 1 {
        return (to < from).then(|| {
            Diagnostic::warning("/version", format!("{message}: a step back"))
                .with_code("istio/downgrade")
                .with_hint("objects that use newer fields stay as they are; CRDs are not taken back")
        });
    }
    (!config.allow_minor_jump).then(|| {
        Diagnostic::error("/version", format!("{message}: more than one minor apart"))
            .with_code("istio/minor-jump")
            .with_hint(
                "go minor by minor, install the new one beside it with `revision`, or accept the risk with \
                 `allow_minor_jump: true`",
            )
    })
}

fn network_label(config: &Config, namespace: &Value) -> Option<Diagnostic> {
    let network = config.network.as_deref()?;
    let label = namespace["metadata"]["labels"]["topology.istio.io/network"].as_str();
    (label != Some(network)).then(|| {
        let has =
            label.map_or_else(|| "has no label".to_owned(), |label| format!("has `{label}` in its label"));
        Diagnostic::hint(
            "/network",
            format!("namespace {} {has} topology.istio.io/network", config.namespace),
        )
        .with_code("istio/network-label")
        .with_hint(format!(
            "istiod reads its own network from there: set `network: {network}` on `istio-base`"
        ))
    })
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{prelude::json, serde_json::from_value, testing::FakeCluster};

    use super::*;

    fn check(mut with: Value, installed: &str) -> Result<Vec<String>> {
        with["mesh_id"] = json!("m");
        let config: Config = from_value(with).expect("a configuration");
        let cluster = FakeCluster::new()
            .with(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "istio-system" } }))
            .with(json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": "istiod", "namespace": "istio-system" },
                "spec": { "template": { "spec": { "containers": [
                    { "name": "discovery", "image": format!("docker.io/istio/pilot:{installed}") },
                ] } } },
            }));
        let found = findings(&config, &cluster.cx("istiod"))?;
        Ok(found.into_iter().map(|found| format!("{:?} {}", found.severity, found.message)).collect())
    }

    #[test]
    fn neighbouring_minors_are_fine() -> Result<()> {
        assert_eq!(check(json!({ "version": "1.30.3" }), "1.29.1-distroless")?, Vec::<String>::new());
        assert_eq!(check(json!({ "version": "1.30.3" }), "1.30.0")?, Vec::<String>::new());
        assert_eq!(
            check(json!({ "version": "1.29.1" }), "1.30.3")?,
            ["Warning 1.30.3 is installed, 1.29.1 is asked for: a step back"]
        );
        Ok(())
    }

    #[test]
    fn jump_over_minors_in_place_is_refused_unless_allowed_or_beside() -> Result<()> {
        assert_eq!(
            check(json!({ "version": "1.30.3" }), "1.19.3")?,
            ["Error 1.19.3 is installed, 1.30.3 is asked for: more than one minor apart"]
        );
        assert!(check(json!({ "version": "1.30.3", "allow_minor_jump": true }), "1.19.3")?.is_empty());
        assert!(check(json!({ "version": "1.30.3", "revision": "1-30" }), "1.19.3")?.is_empty());
        Ok(())
    }

    #[test]
    fn network_without_the_namespaces_label_is_pointed_out() -> Result<()> {
        assert_eq!(
            check(json!({ "version": "1.30.3", "network": "one" }), "1.30.3")?,
            ["Hint namespace istio-system has no label topology.istio.io/network"]
        );
        Ok(())
    }
}

//! What an istiod that is there already means for the one that is asked for.

use meshrun_mesh_facts::some_of;
use meshrun_plugin_common::{IstioVersion, Proxy, ordered_version, proxies, refuse_skew};
use meshrun_sdk::prelude::{Cx, Diagnostic, ObjectRef, Result, Value};

use crate::Config;

/// Proxies that a finding names.
const NAMED: usize = 3;

/// Says whether the version asked for may follow the one that is there and lead the proxies that are there, and whether
/// the namespace has the network's label.
pub(crate) fn findings(config: &Config, cx: &Cx<'_>) -> Result<Vec<Diagnostic>> {
    let (version, kubernetes) = (&config.version, &cx.cluster().kubernetes_version);
    let mut found: Vec<Diagnostic> = version
        .kubernetes("/version", kubernetes)
        .or_else(|| version.untested("/version", kubernetes))
        .into_iter()
        .collect();
    let installed = ordered_version(cx, &config.control_plane())?;
    match installed.as_ref().and_then(|installed| jump(config, cx, installed)) {
        Some(jump) => found.push(jump),
        // Proxies of a jump are far behind as well; that is the same finding.
        None => {
            let proxies = proxies(cx, &config.control_plane())?;
            let installed = installed.as_ref();
            found.extend(installed.and_then(|installed| step_back(config, installed)));
            found.extend(behind(config, cx, installed, &proxies));
            found.extend(ahead(config, cx, installed, &proxies));
        }
    }
    if let Some(namespace) = cx.get(&ObjectRef::cluster("v1", "Namespace", &config.namespace))? {
        found.extend(network_label(config, &namespace));
    }
    Ok(found)
}

fn jump(config: &Config, cx: &Cx<'_>, installed: &IstioVersion) -> Option<Diagnostic> {
    let wanted = &config.version;
    let forward = wanted.is_ahead_of(installed, 1);
    if !forward && !installed.is_ahead_of(wanted, 1) {
        return None;
    }
    let message = format!("{installed} is installed, {wanted} is asked for: more than one minor apart");
    let hint = if forward {
        format!(
            "go minor by minor (`meshrun upgrade-path --from {installed} --to {wanted}`), or install it beside the \
             other with `revision`; `--allow-skip` insists"
        )
    } else {
        "go back minor by minor; `--allow-skip` insists".to_owned()
    };
    Some(refuse_skew(cx, "/version", message).with_code("istio/minor-jump").with_hint(hint))
}

fn step_back(config: &Config, installed: &IstioVersion) -> Option<Diagnostic> {
    installed.is_ahead_of(&config.version, 0).then(|| {
        let message = format!("{installed} is installed, {} is asked for: a step back", config.version);
        Diagnostic::warning("/version", message)
            .with_code("istio/downgrade")
            .with_hint("its CRDs go back as well: fields that the older ones do not know are dropped")
    })
}

/// Istio leads its proxies by one minor at most: those that were not restarted at the last upgrade are too old.
fn behind(
    config: &Config,
    cx: &Cx<'_>,
    installed: Option<&IstioVersion>,
    proxies: &[Proxy],
) -> Option<Diagnostic> {
    let wanted = &config.version;
    let old = named(proxies, |proxy| wanted.is_ahead_of(&proxy.version, 1))?;
    let moves = installed.is_none_or(|installed| wanted.is_ahead_of(installed, 0));
    let found = widening(cx, moves, format!("more than one minor older than {wanted}: {old}"));
    let hint = "restart their workloads, so that they get the proxy of the istiod that runs now";
    Some(found.with_code("istio/data-plane-behind").with_hint(insisting(hint, moves)))
}

/// A proxy may ask an older istiod for what that does not know.
fn ahead(
    config: &Config,
    cx: &Cx<'_>,
    installed: Option<&IstioVersion>,
    proxies: &[Proxy],
) -> Option<Diagnostic> {
    let wanted = &config.version;
    let new = named(proxies, |proxy| proxy.version.is_ahead_of(wanted, 0))?;
    let moves = installed.is_none_or(|installed| installed.is_ahead_of(wanted, 0));
    let found = widening(cx, moves, format!("of a later minor than {wanted}: {new}"));
    let hint = "the control plane is never older than its proxies";
    Some(found.with_code("istio/data-plane-ahead").with_hint(insisting(hint, moves)))
}

/// A finding about proxies too far from istiod. Only a step that takes istiod further from them is refused: a run that
/// is repeated, or that comes after an insisted one, leaves the distance as it is.
fn widening(cx: &Cx<'_>, moves: bool, message: String) -> Diagnostic {
    if moves { refuse_skew(cx, "/version", message) } else { Diagnostic::warning("/version", message) }
}

fn insisting(hint: &str, moves: bool) -> String {
    if moves { format!("{hint}; `--allow-skip` insists") } else { hint.to_owned() }
}

/// Names the proxies of which something holds: `2 proxies (shop/a runs 1.28.2, shop/b runs 1.28.2)`.
fn named(proxies: &[Proxy], holds: impl Fn(&Proxy) -> bool) -> Option<String> {
    let found = proxies.iter().filter(|proxy| holds(proxy));
    let found: Vec<String> = found.map(|proxy| format!("{} runs {}", proxy.pod, proxy.version)).collect();
    let noun = if found.len() == 1 { "proxy" } else { "proxies" };
    (!found.is_empty()).then(|| format!("{} {noun} ({})", found.len(), some_of(&found, NAMED)))
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

    fn installed(version: &str) -> FakeCluster {
        FakeCluster::new()
            .with(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "istio-system" } }))
            .with(json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": "istiod", "namespace": "istio-system" },
                "spec": { "template": { "spec": { "containers": [
                    { "name": "discovery", "image": format!("docker.io/istio/pilot:{version}") },
                ] } } },
            }))
    }

    fn pod(name: &str, version: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": "shop", "annotations": { "istio.io/rev": "default" } },
            "spec": { "containers": [{ "name": "istio-proxy", "image": format!("istio/proxyv2:{version}") }] },
        })
    }

    fn check(with: Value, cluster: &FakeCluster) -> Result<Vec<String>> {
        let config: Config = from_value(with).expect("a configuration");
        let found = findings(&config, &cluster.cx("istiod"))?;
        Ok(found.into_iter().map(|found| format!("{:?} {}", found.severity, found.message)).collect())
    }

    #[test]
    fn neighbouring_minors_are_fine() -> Result<()> {
        let wanted = json!({ "version": "1.30.3" });
        assert_eq!(check(wanted.clone(), &installed("1.29.1-distroless"))?, Vec::<String>::new());
        assert_eq!(check(wanted, &installed("1.30.0"))?, Vec::<String>::new());
        assert_eq!(
            check(json!({ "version": "1.29.1" }), &installed("1.30.3"))?,
            ["Warning 1.30.3 is installed, 1.29.1 is asked for: a step back"]
        );
        Ok(())
    }

    #[test]
    fn jump_over_minors_in_place_is_refused_unless_insisted_on_or_beside() -> Result<()> {
        let message = "1.19.3 is installed, 1.30.3 is asked for: more than one minor apart";
        let wanted = json!({ "version": "1.30.3" });
        let cluster = installed("1.19.3").with(pod("a", "1.19.3"));
        assert_eq!(check(wanted.clone(), &cluster)?, [format!("Error {message}")]);
        assert_eq!(check(wanted, &cluster.allowing_skips())?, [format!("Warning {message}")]);
        let beside = json!({ "version": "1.30.3", "revision": "1-30" });
        assert!(check(beside, &installed("1.19.3"))?.is_empty());
        assert_eq!(
            check(json!({ "version": "1.28.4" }), &installed("1.30.3"))?,
            ["Error 1.30.3 is installed, 1.28.4 is asked for: more than one minor apart"]
        );
        Ok(())
    }

    #[test]
    fn proxies_that_the_last_upgrade_left_behind_are_refused() -> Result<()> {
        let message = "more than one minor older than 1.30.3: 5 proxies (shop/a runs 1.28.2, shop/b runs 1.28.2, \
                       shop/c runs 1.28.2 and 2 more)";
        let cluster = ["a", "b", "c", "d", "e"]
            .into_iter()
            .fold(installed("1.29.6"), |cluster, name| cluster.with(pod(name, "1.28.2")))
            .with(pod("new", "1.29.6"));
        let wanted = json!({ "version": "1.30.3" });
        assert_eq!(check(wanted.clone(), &cluster)?, [format!("Error {message}")]);
        assert_eq!(check(wanted, &cluster.allowing_skips())?, [format!("Warning {message}")]);
        Ok(())
    }

    #[test]
    fn distance_that_is_there_already_does_not_stop_a_repeated_run() -> Result<()> {
        let wanted = json!({ "version": "1.30.3" });
        assert_eq!(
            check(wanted.clone(), &installed("1.30.3").with(pod("a", "1.19.3")))?,
            ["Warning more than one minor older than 1.30.3: 1 proxy (shop/a runs 1.19.3)"]
        );
        assert_eq!(
            check(json!({ "version": "1.29.6" }), &installed("1.29.1").with(pod("a", "1.30.3")))?,
            ["Warning of a later minor than 1.29.6: 1 proxy (shop/a runs 1.30.3)"]
        );
        Ok(())
    }

    #[test]
    fn control_plane_does_not_go_back_behind_its_proxies() -> Result<()> {
        let cluster = installed("1.30.3").with(pod("a", "1.30.3"));
        assert_eq!(
            check(json!({ "version": "1.29.6" }), &cluster)?,
            [
                "Warning 1.30.3 is installed, 1.29.6 is asked for: a step back",
                "Error of a later minor than 1.29.6: 1 proxy (shop/a runs 1.30.3)",
            ]
        );
        Ok(())
    }

    #[test]
    fn cluster_that_is_too_new_is_pointed_out() -> Result<()> {
        assert_eq!(
            check(json!({ "version": "1.19.3" }), &installed("1.19.3"))?,
            ["Warning Istio 1.19.3 was not tested on Kubernetes v1.34.0"]
        );
        Ok(())
    }

    #[test]
    fn network_without_the_namespaces_label_is_pointed_out() -> Result<()> {
        assert_eq!(
            check(json!({ "version": "1.30.3", "network": "one", "mesh_id": "m" }), &installed("1.30.3"))?,
            ["Hint namespace istio-system has no label topology.istio.io/network"]
        );
        Ok(())
    }
}

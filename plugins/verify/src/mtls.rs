//! Mutual TLS: which mode holds, what undermines it, who has no sidecar.

use meshrun_mesh_facts::{
    NETWORKING_BETA, SECURITY_BETA, count, list_served,
    mtls::{Mode, Policies},
    namespace_of, sidecar, some_of,
};
use meshrun_plugin_common::{checks, list, name_of, pods};
use meshrun_sdk::prelude::{Check, Cx, Result, Value};

use crate::config::Config;

pub(crate) fn checks(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
    let objects = list_served(cx, &[config.version.security_api(), SECURITY_BETA], "PeerAuthentication")?;
    let policies = Policies::new(&config.namespace, &objects);
    let rules = list_served(cx, &[config.version.networking_api(), NETWORKING_BETA], "DestinationRule")?;
    let title = "every pod in a namespace that injects has a sidecar";
    let sidecars = match checks::needs_running(cx, "sidecars", title) {
        Some(skipped) => skipped,
        None => {
            let namespaces = list(cx, "v1", "Namespace", None, "")?;
            sidecars(title, &namespaces, &pods(cx, None, "")?)
        }
    };
    Ok(vec![mode(config.mtls, &policies), overrides(&rules), sidecars])
}

fn mode(wanted: Option<Mode>, policies: &Policies<'_>) -> Check {
    let found = policies.mesh_mode();
    let title = format!("mutual TLS of the mesh is {}", wanted.unwrap_or(found));
    let (evidence, hint) = match policies.mesh_claims().first() {
        Some(policy) => (
            format!("PeerAuthentication {}/{} says {found}", namespace_of(policy), name_of(policy)),
            "of several policies for the mesh the oldest wins",
        ),
        None => (
            format!("no PeerAuthentication speaks for the mesh, and Istio's default is {found}"),
            "run the pipeline",
        ),
    };
    if wanted.is_none_or(|wanted| wanted == found) {
        Check::passed("mtls-mode", title, evidence)
    } else {
        Check::failed("mtls-mode", title, evidence).with_hint(hint)
    }
}

/// A rule for all hosts with TLS settings turns automatic mutual TLS off: it no longer asks whether the target has a
/// sidecar.
fn overrides(rules: &[Value]) -> Check {
    let (id, title) = ("destination-rules", "no DestinationRule sets TLS for the whole mesh");
    let found: Vec<String> = rules
        .iter()
        .filter(|rule| rule["spec"]["host"].as_str().is_some_and(|host| matches!(host, "*" | "*.local")))
        .filter(|rule| !rule["spec"]["trafficPolicy"]["tls"].is_null())
        .map(|rule| format!("{}/{} for {}", namespace_of(rule), name_of(rule), rule["spec"]["host"]))
        .collect();
    if found.is_empty() {
        Check::passed(id, title, format!("{} looked at", count(rules.len(), "rule")))
    } else {
        Check::warning(id, title, some_of(&found, 5))
            .with_hint("delete it: Istio picks mutual TLS per endpoint by itself, and this breaks targets without sidecar")
    }
}

fn sidecars(title: &str, namespaces: &[Value], pods: &[Value]) -> Check {
    let injecting = namespaces.iter().filter(|namespace| sidecar::injects(namespace)).count();
    let bare: Vec<String> = sidecar::uninjected(namespaces, pods)
        .into_iter()
        .map(|pod| format!("{}/{}", namespace_of(pod), name_of(pod)))
        .collect();
    if bare.is_empty() && injecting == 0 {
        Check::skipped("sidecars", title, "no namespace injects sidecars")
    } else if bare.is_empty() {
        Check::passed("sidecars", title, format!("{} looked at", count(injecting, "namespace")))
    } else {
        Check::warning(
            "sidecars",
            title,
            format!("{} without: {}", count(bare.len(), "pod"), some_of(&bare, 5)),
        )
        .with_hint("restart them so that they get a sidecar")
    }
}

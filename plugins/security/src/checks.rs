//! Whether the modes hold, and who suffers from them.

use meshrun_mesh_facts::{
    count,
    mtls::{Mode, Policies},
    some_of,
};
use meshrun_plugin_common::{checks::needs_running, name_of};
use meshrun_sdk::prelude::{Check, Cx, Result};

use crate::{config::Config, gate};

pub(crate) fn checks(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
    let seen = gate::Seen::read(cx, &config.version)?;
    let policies = Policies::new(&config.namespace, &seen.peer_authentications);
    let mut checks = vec![mesh_mode(config, &policies)];
    if !config.mtls.namespaces.is_empty() {
        checks.push(namespace_modes(config, &policies));
    }
    let title = "every pod in a STRICT namespace has a sidecar";
    checks.push(
        needs_running(cx, "sidecars", title)
            .unwrap_or_else(|| sidecars(title, &gate::breaking(config, &seen))),
    );
    Ok(checks)
}

fn mesh_mode(config: &Config, policies: &Policies<'_>) -> Check {
    let wanted = config.mtls.mode;
    let (id, title) = ("mtls-mode", format!("mutual TLS of the mesh is {wanted}"));
    let claims = policies.mesh_claims();
    let found = policies.mesh_mode();
    match claims[..] {
        [] => Check::failed(id, title, "no PeerAuthentication speaks for the mesh")
            .with_hint("run the pipeline"),
        [winner, ..] if found == wanted => {
            Check::passed(id, title, format!("PeerAuthentication {}/{}", config.namespace, name_of(winner)))
        }
        [winner, ..] => Check::failed(
            id,
            title,
            format!("PeerAuthentication {}/{} says {found}", config.namespace, name_of(winner)),
        )
        .with_hint("of several policies for the mesh the oldest wins: delete the one that should not"),
    }
}

fn namespace_modes(config: &Config, policies: &Policies<'_>) -> Check {
    let (id, title) = ("mtls-namespaces", "namespaces have the modes they were given");
    let wrong: Vec<String> = config
        .mtls
        .namespaces
        .iter()
        .map(|(namespace, wanted)| (namespace, *wanted, policies.mode_in(namespace)))
        .filter(|(_, wanted, found): &(_, Mode, Mode)| wanted != found)
        .map(|(namespace, wanted, found)| format!("{namespace} is {found}, not {wanted}"))
        .collect();
    if wrong.is_empty() {
        let right: Vec<String> =
            config.mtls.namespaces.iter().map(|(namespace, mode)| format!("{namespace} is {mode}")).collect();
        Check::passed(id, title, some_of(&right, 5))
    } else {
        Check::failed(id, title, some_of(&wrong, 5))
            .with_hint("of several policies in a namespace the oldest wins")
    }
}

fn sidecars(title: &str, broken: &[gate::Broken]) -> Check {
    let names: Vec<&str> = broken.iter().map(gate::Broken::name).collect();
    if names.is_empty() {
        Check::passed("sidecars", title, "no pod without one")
    } else {
        let evidence = format!("{} without: {}", count(names.len(), "pod"), some_of(&names, 5));
        Check::warning("sidecars", title, evidence).with_hint("restart them so that they get a sidecar")
    }
}

//! Gateway objects: do they select a gateway, and are the certificates there that they name.
//!
//! A missing certificate is no error to Istio: the port opens, and every TLS handshake on it fails.

use std::collections::BTreeSet;

use meshrun_mesh_facts::{NETWORKING_BETA, items, list_served, namespace_of, some_of};
use meshrun_plugin_common::{checks, name_of, pods};
use meshrun_sdk::prelude::{Check, Cx, ObjectRef, Result, Value};

use crate::config::Config;

pub(crate) fn checks(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
    let gateways = list_served(cx, &[config.version.networking_api(), NETWORKING_BETA], "Gateway")?;
    if gateways.is_empty() {
        return Ok(Vec::new());
    }
    let pods = pods(cx, None, "")?;
    let title = "every Gateway selects a gateway's pods";
    let selectors = checks::needs_running(cx, "gateway-selectors", title)
        .unwrap_or_else(|| selectors(title, &gateways, &pods));
    let mut missing = Vec::new();
    let credentials = credentials(config, &gateways, &pods);
    for (namespace, secret) in &credentials {
        let object = cx.get(&ObjectRef::namespaced("v1", "Secret", *namespace, *secret))?;
        if !object.is_some_and(|secret| holds_certificate(&secret)) {
            missing.push(format!("{namespace}/{secret}"));
        }
    }
    let named: Vec<String> =
        credentials.iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect();
    Ok(vec![selectors, judge_credentials(cx.cluster().rehearsal, &named, &missing)])
}

fn selectors(title: &str, gateways: &[Value], pods: &[Value]) -> Check {
    let unbound: Vec<String> = gateways
        .iter()
        .filter(|gateway| !pods.iter().any(|pod| selects(gateway, pod)))
        .map(|gateway| {
            format!("{}/{} selects {}", namespace_of(gateway), name_of(gateway), gateway["spec"]["selector"])
        })
        .collect();
    if unbound.is_empty() {
        let names: Vec<&str> = gateways.iter().map(name_of).collect();
        Check::passed("gateway-selectors", title, some_of(&names, 5))
    } else {
        Check::failed("gateway-selectors", title, some_of(&unbound, 5))
            .with_hint("the label `istio` of a gateway's pods is the release's name without `istio-`")
    }
}

fn selects(gateway: &Value, pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    gateway["spec"]["selector"]
        .as_object()
        .is_none_or(|selector| selector.iter().all(|(key, value)| labels[key] == *value))
}

/// Namespace and name of every Secret that Gateways need: a gateway reads them in its pods' own namespace.
fn credentials<'a>(
    config: &'a Config,
    gateways: &'a [Value],
    pods: &'a [Value],
) -> BTreeSet<(&'a str, &'a str)> {
    let own = config.gateway.as_ref().and_then(|gateway| gateway.namespace.as_deref());
    let mut found = BTreeSet::new();
    for gateway in gateways {
        let bound = pods.iter().find(|pod| selects(gateway, pod)).map(namespace_of);
        let namespace = bound.unwrap_or_else(|| config.or_own(own));
        for server in items(&gateway["spec"]["servers"]) {
            let tls = &server["tls"];
            let single = tls["credentialName"].as_str();
            let several = items(&tls["credentialNames"]).iter().filter_map(Value::as_str);
            found.extend(single.into_iter().chain(several).map(|name| (namespace, name)));
        }
    }
    found
}

/// A TLS Secret, or Istio's older form with the keys `cert` and `key`.
fn holds_certificate(secret: &Value) -> bool {
    let has = |key: &str| secret["data"][key].as_str().is_some_and(|value| !value.is_empty());
    (has("tls.crt") && has("tls.key")) || (has("cert") && has("key"))
}

fn judge_credentials(rehearsal: bool, named: &[String], missing: &[String]) -> Check {
    let (id, title) = ("gateway-credentials", "the certificates that Gateways name are there");
    if named.is_empty() {
        Check::skipped(id, title, "no Gateway names one")
    } else if missing.is_empty() {
        Check::passed(id, title, some_of(named, 5))
    } else if rehearsal {
        let why = format!("not in the pipeline, perhaps in the cluster: {}", some_of(missing, 5));
        Check::skipped(id, title, why)
    } else {
        Check::failed(id, title, format!("no certificate in Secret {}", some_of(missing, 5))).with_hint(
            "create it in the gateway's namespace (kubectl create secret tls), or take the HTTPS server out",
        )
    }
}

//! The proxies as istiod sees them: is their configuration in sync, and are they as new as istiod.
//!
//! `GET /debug/syncz` of port 15014. Every istiod lists its own proxies only, so all of them are asked. A request
//! through a port-forward comes from loopback and needs no token (`pilot/pkg/xds/debug.go` of 1.19.3 and 1.30.3).

use std::collections::BTreeMap;

use meshrun_mesh_facts::some_of;
use meshrun_plugin_common::{IstioVersion, checks, istiod_pods, name_of, reference};
use meshrun_sdk::{
    prelude::{Check, Cx, Endpoint, Error, Result, Value},
    serde_json,
};

use crate::config::Config;

const MONITORING_PORT: u16 = 15014;
const KINDS: &[&str] = &["cluster", "listener", "route", "endpoint"];
const SYNC: (&str, &str) = ("proxies-in-sync", "every proxy has the configuration that istiod sent");
const VERSIONS: &str = "proxy-versions";

pub(crate) fn checks(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
    if let Some(skipped) = checks::needs_running(cx, SYNC.0, SYNC.1) {
        return Ok(vec![skipped]);
    }
    let mut proxies = BTreeMap::new();
    let mut silent = Vec::new();
    for pod in istiod_pods(cx, &config.control_plane())? {
        match ask(cx, &pod) {
            Ok(entries) => entries.iter().for_each(|entry| add(&mut proxies, entry)),
            Err(error) => silent.push(format!("{}: {error}", name_of(&pod))),
        }
    }
    if !silent.is_empty() {
        let hint = "asking needs the right to port-forward to pods";
        return Ok(vec![Check::warning(SYNC.0, SYNC.1, some_of(&silent, 5)).with_hint(hint)]);
    }
    Ok(vec![in_sync(&proxies, config.gateway.is_some()), versions(&proxies, &config.version)])
}

fn ask(cx: &Cx<'_>, istiod: &Value) -> Result<Vec<Value>> {
    let answer = cx.http_get(Endpoint::of_pod(&reference(istiod), MONITORING_PORT), "/debug/syncz")?;
    if answer.status != 200 {
        return Err(Error::new(format!("answers /debug/syncz with {}", answer.status)));
    }
    serde_json::from_str(&answer.body).map_err(|error| Error::new(format!("read /debug/syncz: {error}")))
}

/// How far a proxy is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Synced,
    /// Kinds that were sent and not acknowledged.
    Stale(Vec<&'static str>),
    /// What the proxy says about configuration it refused.
    Rejected(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Proxy {
    version: String,
    state: State,
}

/// Adds a proxy. One that has just moved is listed by two istiods: the better state is the newer one.
fn add(proxies: &mut BTreeMap<String, Proxy>, entry: &Value) {
    let id = entry["proxy"].as_str().unwrap_or_default().to_owned();
    let version = entry["istio_version"].as_str().unwrap_or_default().to_owned();
    let proxy = Proxy { version, state: state(entry) };
    match proxies.get(&id) {
        Some(known) if known.state <= proxy.state => {}
        _ => {
            proxies.insert(id, proxy);
        }
    }
}

/// A kind that was never sent has nothing to say: a gateway without routes gets none.
fn state(entry: &Value) -> State {
    let rejected = entry["resources"].as_object().into_iter().flatten().find_map(|(_, resource)| {
        resource["lastError"].as_str().filter(|error| !error.is_empty()).map(str::to_owned)
    });
    if let Some(error) = rejected {
        return State::Rejected(error);
    }
    let nonce =
        |kind: &str, what: &str| entry[format!("{kind}_{what}")].as_str().unwrap_or_default().to_owned();
    let stale: Vec<&str> = KINDS
        .iter()
        .copied()
        .filter(|kind| {
            let sent = nonce(kind, "sent");
            !sent.is_empty() && sent != nonce(kind, "acked")
        })
        .collect();
    if stale.is_empty() { State::Synced } else { State::Stale(stale) }
}

fn in_sync(proxies: &BTreeMap<String, Proxy>, gateway_expected: bool) -> Check {
    let (id, title) = SYNC;
    let with = |text: &dyn Fn(&State) -> Option<String>| -> Vec<String> {
        proxies.iter().filter_map(|(id, proxy)| Some(format!("{id} {}", text(&proxy.state)?))).collect()
    };
    let rejected = with(&|state| match state {
        State::Rejected(error) => Some(format!("refused it: {error}")),
        _ => None,
    });
    let stale = with(&|state| match state {
        State::Stale(kinds) => Some(format!("has not acknowledged: {}", kinds.join(", "))),
        _ => None,
    });
    if proxies.is_empty() && gateway_expected {
        Check::warning(id, title, "no proxy is connected to istiod, not even the gateway's")
            .with_hint("it connects within seconds of its start: look at the gateway's log")
    } else if proxies.is_empty() {
        Check::skipped(id, title, "no proxy is connected to istiod")
    } else if !rejected.is_empty() {
        Check::failed(id, title, some_of(&rejected, 3))
            .with_hint("look for the object behind it: istioctl analyze -A")
    } else if !stale.is_empty() {
        Check::warning(id, title, some_of(&stale, 5))
            .with_hint("normal for a moment after a change; ask again")
    } else {
        Check::passed(id, title, format!("all {} are", proxies.len()))
    }
}

/// Proxies of another version are a matter of restarts as long as the control plane leads them by one minor at most.
fn versions(proxies: &BTreeMap<String, Proxy>, wanted: &IstioVersion) -> Check {
    let title = format!("every proxy runs {wanted}");
    let other = |holds: &dyn Fn(&str) -> bool| -> Vec<String> {
        let other = proxies.iter().filter(|(_, proxy)| holds(&proxy.version));
        other.map(|(id, proxy)| format!("{id} runs {}", proxy.version)).collect()
    };
    let parsed = |version: &str| version.parse::<IstioVersion>().ok();
    let ahead = other(&|version| parsed(version).is_some_and(|version| version.is_ahead_of(wanted, 0)));
    let behind = other(&|version| parsed(version).is_some_and(|version| wanted.is_ahead_of(&version, 1)));
    let different = other(&|version| version != wanted.as_str());
    if proxies.is_empty() {
        Check::skipped(VERSIONS, title, "no proxy is connected to istiod")
    } else if !ahead.is_empty() {
        Check::failed(VERSIONS, title, format!("of a later minor than istiod: {}", some_of(&ahead, 5)))
            .with_hint("upgrade istiod: the control plane is never older than its proxies")
    } else if !behind.is_empty() {
        Check::warning(VERSIONS, title, format!("more than one minor behind istiod: {}", some_of(&behind, 5)))
            .with_hint("restart their workloads: kubectl rollout restart")
    } else if different.is_empty() {
        Check::passed(VERSIONS, title, format!("all {} do", proxies.len()))
    } else {
        Check::warning(VERSIONS, title, some_of(&different, 5))
            .with_hint("restart their workloads: kubectl rollout restart")
    }
}

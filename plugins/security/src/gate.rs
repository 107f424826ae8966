//! The gate before `STRICT`: who would lose the connection, judged on the pods that are there.

use std::collections::BTreeSet;

use meshrun_mesh_facts::{
    NETWORKING_BETA, SECURITY_BETA, count, list_served,
    mtls::{Mode, Policies},
    namespace_of, sidecar, some_of,
};
use meshrun_plugin_common::{IstioVersion, list, name_of, pods};
use meshrun_sdk::prelude::{Cx, Diagnostic, Error, Result, Value};

use crate::{config::Config, peer_authentication::DEFAULT};

/// How many names an error or a warning shows.
const SHOWN: usize = 8;

/// What the gate looks at.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) namespaces: Vec<Value>,
    pub(crate) pods: Vec<Value>,
    pub(crate) peer_authentications: Vec<Value>,
    pub(crate) authorizations: Vec<Value>,
    pub(crate) destination_rules: Vec<Value>,
    pub(crate) services: Vec<Value>,
}

impl Seen {
    pub(crate) fn read(cx: &Cx<'_>, version: &IstioVersion) -> Result<Self> {
        let security = |kind| list_served(cx, &[version.security_api(), SECURITY_BETA], kind);
        Ok(Self {
            namespaces: list(cx, "v1", "Namespace", None, "")?,
            pods: pods(cx, None, "")?,
            peer_authentications: security("PeerAuthentication")?,
            authorizations: security("AuthorizationPolicy")?,
            destination_rules: list_served(
                cx,
                &[version.networking_api(), NETWORKING_BETA],
                "DestinationRule",
            )?,
            services: list(cx, "v1", "Service", None, "")?,
        })
    }
}

/// Returns what is worth knowing about the modes on this cluster.
///
/// # Errors
/// When a namespace is to become `STRICT` although pods there would break, and the gate is not off.
pub(crate) fn judge(config: &Config, seen: &Seen) -> Result<Vec<Diagnostic>> {
    let broken = breaking(config, seen);
    let (new, standing): (Vec<_>, Vec<_>) = broken.into_iter().partition(|pod| !pod.strict_already);
    if config.mtls.gate && !new.is_empty() {
        return Err(refusal(&new));
    }
    let mut findings = Vec::new();
    findings.extend(loss("would lose the connection to STRICT workloads", &new));
    findings.extend(loss("cannot reach STRICT workloads", &standing));
    findings.extend(outside(config, seen));
    findings.extend(rivals(config, seen));
    findings.extend(missing_namespaces(config, seen));
    findings.extend(legacy_rule(config, seen));
    Ok(findings)
}

/// A pod that cannot talk to `STRICT` workloads of its namespace.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Broken {
    name: String,
    why: &'static str,
    strict_already: bool,
}

impl Broken {
    /// `namespace/name`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Returns the pods without a sidecar that sit where `STRICT` is to hold: in a namespace that injects, or beside
/// meshed pods. Pods kept out on purpose (`sidecar.istio.io/inject: "false"`, host network) are their owner's choice.
pub(crate) fn breaking(config: &Config, seen: &Seen) -> Vec<Broken> {
    let wanted: BTreeSet<(&str, &str)> =
        sidecar::uninjected(&seen.namespaces, &seen.pods).into_iter().map(identity).collect();
    let meshed: BTreeSet<&str> =
        seen.pods.iter().filter(|pod| sidecar::is_meshed(pod)).map(namespace_of).collect();
    let now = Policies::new(&config.namespace, &seen.peer_authentications);
    seen.pods
        .iter()
        .filter(|pod| !sidecar::has_proxy(pod) && !sidecar::opted_out(pod))
        .filter(|pod| planned_mode(config, &now, namespace_of(pod)) == Mode::Strict)
        .filter_map(|pod| {
            let why = if wanted.contains(&identity(pod)) {
                "its namespace injects sidecars, it was not restarted since"
            } else if meshed.contains(namespace_of(pod)) {
                "it stands beside meshed pods"
            } else {
                return None;
            };
            let strict_already = now.mode_in(namespace_of(pod)) == Mode::Strict;
            Some(Broken { name: format!("{}/{}", namespace_of(pod), name_of(pod)), why, strict_already })
        })
        .collect()
}

fn identity(pod: &Value) -> (&str, &str) {
    (namespace_of(pod), name_of(pod))
}

/// The mode a namespace will have: what this step says, else what the namespace says itself, else the mesh's.
fn planned_mode(config: &Config, now: &Policies<'_>, namespace: &str) -> Mode {
    let own = if namespace == config.namespace { None } else { now.stated(namespace) };
    config.mtls.namespaces.get(namespace).copied().or(own).unwrap_or(config.mtls.mode)
}

fn refusal(broken: &[Broken]) -> Error {
    let named: Vec<String> = broken.iter().map(|pod| format!("{} ({})", pod.name, pod.why)).collect();
    let verb = if broken.len() == 1 { "has" } else { "have" };
    Error::new(format!(
        "STRICT mutual TLS would cut off {} that {verb} no sidecar: {}",
        count(broken.len(), "pod"),
        some_of(&named, SHOWN)
    ))
    .with_hint(
        "restart them so that they get a sidecar; or keep their namespace PERMISSIVE under `mtls.namespaces`, or label \
         them sidecar.istio.io/inject=false; or set `mtls.gate: false` to insist",
    )
    .at("/mtls/mode")
}

fn loss(text: &str, broken: &[Broken]) -> Option<Diagnostic> {
    let names: Vec<&str> = broken.iter().map(|pod| pod.name.as_str()).collect();
    (!names.is_empty()).then(|| {
        Diagnostic::warning(
            "/mtls/mode",
            format!("{} without a sidecar {text}: {}", count(names.len(), "pod"), some_of(&names, SHOWN)),
        )
        .with_code("istio/strict-gate")
        .with_hint("restart them so that they get a sidecar")
    })
}

/// Clients outside the mesh are not gated (every cluster has some), but said.
fn outside(config: &Config, seen: &Seen) -> Option<Diagnostic> {
    if config.mtls.mode != Mode::Strict || !seen.pods.iter().any(sidecar::is_meshed) {
        return None;
    }
    let meshed: BTreeSet<&str> =
        seen.pods.iter().filter(|pod| sidecar::has_proxy(pod)).map(namespace_of).collect();
    let outside: Vec<&str> = seen
        .pods
        .iter()
        .map(namespace_of)
        .filter(|namespace| !namespace.starts_with("kube-") && *namespace != config.namespace)
        .filter(|namespace| !meshed.contains(namespace))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    (!outside.is_empty()).then(|| {
        Diagnostic::hint(
            "/mtls/mode",
            format!(
                "pods in {} are outside the mesh and cannot call into it any more",
                some_of(&outside, SHOWN)
            ),
        )
        .with_code("istio/outside-the-mesh")
        .with_hint("metrics are still scraped: the ports 15020 and 15090 are exempt from mutual TLS")
    })
}

/// Another policy that claims to speak for the mesh: of two, Istio takes the oldest.
fn rivals(config: &Config, seen: &Seen) -> Option<Diagnostic> {
    let policies = Policies::new(&config.namespace, &seen.peer_authentications);
    let claims = policies.mesh_claims();
    let others: Vec<&str> =
        claims.iter().map(|policy| name_of(policy)).filter(|name| *name != DEFAULT).collect();
    let winner = claims.first().map(|policy| name_of(policy));
    (!others.is_empty()).then(|| {
        let outcome = if winner == Some(DEFAULT) {
            "they are ignored: the oldest one, `default`, wins".to_owned()
        } else {
            format!("the oldest one wins, `{}`, and this step's mode has no effect", others[0])
        };
        Diagnostic::warning(
            "/mtls/mode",
            format!("{} also claims to speak for the mesh; {outcome}", some_of(&others, SHOWN)),
        )
        .with_code("istio/two-mesh-policies")
        .with_hint(format!("kubectl delete peerauthentication -n {} {}", config.namespace, others[0]))
    })
}

fn missing_namespaces(config: &Config, seen: &Seen) -> Vec<Diagnostic> {
    let there: BTreeSet<&str> = seen.namespaces.iter().map(name_of).collect();
    let missing = config.mtls.namespaces.keys().filter(|name| !there.contains(name.as_str()));
    missing
        .map(|name| {
            Diagnostic::warning(
                format!("/mtls/namespaces/{}", name.replace('~', "~0").replace('/', "~1")),
                format!("namespace {name} does not exist"),
            )
            .with_code("kubernetes/no-namespace")
        })
        .collect()
}

/// The rule for `*.local` sends mutual TLS to everything, sidecar or not.
fn legacy_rule(config: &Config, seen: &Seen) -> Option<Diagnostic> {
    if !config.mtls.legacy_destination_rule {
        let left = seen.destination_rules.iter().find(|rule| {
            namespace_of(rule) == config.namespace
                && rule["spec"]["host"] == "*.local"
                && !rule["spec"]["trafficPolicy"]["tls"].is_null()
        })?;
        return Some(
            Diagnostic::warning(
                "/mtls/legacy_destination_rule",
                format!(
                    "DestinationRule {}/{} turns automatic mutual TLS off for every service",
                    config.namespace,
                    name_of(left)
                ),
            )
            .with_code("istio/legacy-destination-rule")
            .with_hint(format!(
                "kubectl delete destinationrule -n {} {}",
                config.namespace,
                name_of(left)
            )),
        );
    }
    let targets: Vec<String> = seen
        .services
        .iter()
        .filter(|service| without_sidecar(service, &seen.pods))
        .map(|service| format!("{}/{}", namespace_of(service), name_of(service)))
        .collect();
    (!targets.is_empty()).then(|| {
        Diagnostic::warning(
            "/mtls/legacy_destination_rule",
            format!("meshed pods will not reach services without sidecars: {}", some_of(&targets, SHOWN)),
        )
        .with_code("istio/legacy-destination-rule")
        .with_hint("leave the rule out: Istio picks mutual TLS per endpoint by itself")
    })
}

fn without_sidecar(service: &Value, pods: &[Value]) -> bool {
    let Some(selector) = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty())
    else {
        // Without a selector (`default/kubernetes`) the endpoints are no pods, and so have no sidecar.
        return service["spec"]["type"] != "ExternalName";
    };
    let mut targets = pods.iter().filter(|pod| {
        namespace_of(pod) == namespace_of(service)
            && selector.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value)
    });
    targets.any(|pod| !sidecar::has_proxy(pod))
}

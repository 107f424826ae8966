//! Authorization policies: allows first, what denies everything last, and who would be shut out.

use meshrun_mesh_facts::{items, namespace_of, sidecar, some_of};
use meshrun_plugin_common::{name_of, object};
use meshrun_sdk::prelude::{Diagnostic, Plan, Value, json};

use crate::{config::Config, gate::Seen};

/// Name of the policy that `deny_by_default` makes.
const DENY_ALL: &str = "deny-all";

/// Adds the policies; between the two actions nothing that is allowed is ever refused.
pub(crate) fn plan(config: &Config, plan: Plan) -> Plan {
    let (denying, allowing): (Vec<Value>, Vec<Value>) =
        config.authorization.objects.iter().cloned().partition(allows_nothing);
    let api = config.version.security_api();
    let by_default = config.authorization.deny_by_default.iter().map(|namespace| {
        object(api, "AuthorizationPolicy", DENY_ALL).namespace(namespace).spec(json!({})).build()
    });
    let denying: Vec<Value> = denying.into_iter().chain(by_default).collect();
    let plan = if allowing.is_empty() { plan } else { plan.apply("authorization", allowing) };
    if denying.is_empty() { plan } else { plan.apply("deny-by-default", denying) }
}

/// Names the workloads that `deny_by_default` shuts out because no ALLOW policy speaks of them.
pub(crate) fn findings(config: &Config, seen: &Seen) -> Vec<Diagnostic> {
    let policies: Vec<&Value> = seen.authorizations.iter().chain(&config.authorization.objects).collect();
    let denied = config.authorization.deny_by_default.iter().enumerate();
    denied.filter_map(|(index, namespace)| shut_out(config, seen, &policies, index, namespace)).collect()
}

fn shut_out(
    config: &Config,
    seen: &Seen,
    policies: &[&Value],
    index: usize,
    denied: &str,
) -> Option<Diagnostic> {
    // In the root namespace the policy speaks for the whole mesh, gateways included.
    let concerned = seen
        .pods
        .iter()
        .filter(|pod| sidecar::has_proxy(pod) && (denied == config.namespace || namespace_of(pod) == denied));
    let lost: Vec<String> = concerned
        .filter(|pod| !policies.iter().any(|policy| allows(policy, pod, &config.namespace)))
        .map(|pod| format!("{}/{}", namespace_of(pod), name_of(pod)))
        .collect();
    (!lost.is_empty()).then(|| {
        Diagnostic::warning(
            format!("/authorization/deny_by_default/{index}"),
            format!("no ALLOW policy speaks of {}: nothing will reach them", some_of(&lost, 5)),
        )
        .with_code("istio/deny-all")
        .with_hint(
            "add an AuthorizationPolicy for each of them to `authorization.objects`; the ingress gateway's principal \
             is cluster.local/ns/<gateway namespace>/sa/<gateway name>",
        )
    })
}

/// Whether a policy allows something to a pod.
fn allows(policy: &Value, pod: &Value, root: &str) -> bool {
    let home = namespace_of(policy);
    is_allow(policy)
        && !items(&policy["spec"]["rules"]).is_empty()
        && (home == root || home == namespace_of(pod))
        && selects(&policy["spec"]["selector"]["matchLabels"], pod)
}

fn is_allow(policy: &Value) -> bool {
    policy["kind"] == "AuthorizationPolicy"
        && policy["spec"]["action"].as_str().is_none_or(|action| action == "ALLOW")
}

/// An ALLOW policy without rules allows nothing, and so denies everything else too.
fn allows_nothing(policy: &Value) -> bool {
    is_allow(policy) && items(&policy["spec"]["rules"]).is_empty()
}

fn selects(labels: &Value, pod: &Value) -> bool {
    labels
        .as_object()
        .is_none_or(|labels| labels.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value))
}

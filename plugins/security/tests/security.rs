//! The security step on fake clusters: what it plans, refuses and checks.

use meshrun_sdk::{
    Step,
    prelude::{Check, CheckStatus, Diagnostic, Plan, Result, Value, json},
    serde_json,
    testing::FakeCluster,
};
use meshrun_security::{Config, Security};

fn config(rest: Value) -> Config {
    let mut with = json!({ "version": "1.19.3" });
    for (key, value) in rest.as_object().into_iter().flatten() {
        with[key] = value.clone();
    }
    serde_json::from_value(with).expect("a configuration")
}

fn strict() -> Config {
    config(json!({ "mtls": { "mode": "STRICT" } }))
}

fn plan(config: &Config, cluster: &FakeCluster) -> Result<Plan> {
    Security::plan(config, &cluster.cx("security"))
}

fn findings(config: &Config, cluster: &FakeCluster) -> Vec<String> {
    let response = plan(config, cluster).expect("a plan").into_response();
    texts(&response.diagnostics)
}

fn texts(diagnostics: &[Diagnostic]) -> Vec<String> {
    let text = |finding: &Diagnostic| format!("{:?} {}: {}", finding.severity, finding.path, finding.message);
    diagnostics.iter().map(text).collect()
}

fn namespace(name: &str, labels: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
}

fn pod(namespace: &str, name: &str, containers: &[&str]) -> Value {
    let containers: Vec<Value> = containers.iter().map(|name| json!({ "name": name })).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": name } },
        "spec": { "containers": containers },
    })
}

fn mesh_policy(name: &str, mode: &str, created: &str) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1beta1", "kind": "PeerAuthentication",
        "metadata": { "name": name, "namespace": "istio-system", "creationTimestamp": created },
        "spec": { "mtls": { "mode": mode } },
    })
}

/// A shop whose pod `old` was not restarted since its namespace injects, and a gateway beside the control plane.
fn shop() -> FakeCluster {
    FakeCluster::new()
        .with(namespace("istio-system", json!({})))
        .with(namespace("shop", json!({ "istio-injection": "enabled" })))
        .with(pod("istio-system", "istiod", &["discovery"]))
        .with(pod("istio-system", "istio-gateway", &["istio-proxy"]))
        .with(pod("shop", "web", &["web", "istio-proxy"]))
        .with(pod("shop", "old", &["old"]))
}

#[test]
fn plans_a_permissive_mesh_and_nothing_else_by_default() {
    let plan = plan(&config(json!({})), &FakeCluster::new()).expect("a plan");
    insta::assert_json_snapshot!("permissive", plan.into_response());
}

#[test]
fn plans_exceptions_before_the_mode_of_the_mesh_and_denials_last() {
    let config = config(json!({
        "version": "1.30.3",
        "mtls": {
            "mode": "STRICT",
            "namespaces": { "legacy": "PERMISSIVE" },
            "exceptions": [{
                "name": "metrics", "namespace": "shop", "match_labels": { "app": "web" },
                "ports": { "9100": "PERMISSIVE" },
            }],
            "legacy_destination_rule": true,
        },
        "authorization": {
            "deny_by_default": ["production"],
            "objects": [{
                "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                "metadata": { "name": "frontend-to-backend", "namespace": "production" },
                "spec": {
                    "selector": { "matchLabels": { "app": "backend" } },
                    "rules": [{ "from": [{ "source": { "principals": ["cluster.local/ns/production/sa/frontend"] } }] }],
                },
            }],
        },
    }));
    let plan = plan(&config, &FakeCluster::new()).expect("a plan");
    insta::assert_json_snapshot!("everything", plan.actions());
}

#[test]
fn strict_is_refused_while_pods_have_no_sidecar() {
    let error = plan(&strict(), &shop()).expect_err("the gate is closed");
    assert_eq!(
        error.to_string(),
        "STRICT mutual TLS would cut off 1 pod that has no sidecar: shop/old (its namespace injects sidecars, it was \
         not restarted since)"
    );
}

#[test]
fn strict_is_refused_for_pods_beside_meshed_ones() {
    let cluster = FakeCluster::new().with(pod("shop", "web", &["web", "istio-proxy"])).with(pod(
        "shop",
        "job",
        &["job"],
    ));
    let error = plan(&strict(), &cluster).expect_err("the gate is closed");
    assert_eq!(
        error.to_string(),
        "STRICT mutual TLS would cut off 1 pod that has no sidecar: shop/job (it stands beside meshed pods)"
    );
}

#[test]
fn the_gate_lets_through_what_is_excluded() {
    let permissive_shop =
        config(json!({ "mtls": { "mode": "STRICT", "namespaces": { "shop": "PERMISSIVE" } } }));
    assert_eq!(findings(&permissive_shop, &shop()), Vec::<String>::new());

    let mut opted_out = pod("shop", "agent", &["agent"]);
    opted_out["metadata"]["labels"]["sidecar.istio.io/inject"] = json!("false");
    let cluster = FakeCluster::new().with(pod("shop", "web", &["web", "istio-proxy"])).with(opted_out);
    assert_eq!(findings(&strict(), &cluster), Vec::<String>::new());
}

#[test]
fn an_open_gate_warns() {
    let config = config(json!({ "mtls": { "mode": "STRICT", "gate": false } }));
    assert_eq!(
        findings(&config, &shop()),
        [
            "Warning /mtls/mode: 1 pod without a sidecar would lose the connection to STRICT workloads: shop/old"
        ]
    );
}

#[test]
fn a_mesh_that_is_strict_already_is_not_refused_again() {
    let cluster = shop().with(mesh_policy("default", "STRICT", "2026-01-01T00:00:00Z"));
    assert_eq!(
        findings(&strict(), &cluster),
        ["Warning /mtls/mode: 1 pod without a sidecar cannot reach STRICT workloads: shop/old"]
    );
}

#[test]
fn clients_outside_the_mesh_are_mentioned() {
    let cluster = FakeCluster::new()
        .with(pod("shop", "web", &["web", "istio-proxy"]))
        .with(pod("observability", "prometheus", &["prometheus"]))
        .with(pod("kube-system", "coredns", &["coredns"]));
    assert_eq!(
        findings(&strict(), &cluster),
        ["Hint /mtls/mode: pods in observability are outside the mesh and cannot call into it any more"]
    );
}

#[test]
fn an_older_policy_for_the_mesh_is_named() {
    let cluster = FakeCluster::new()
        .with(mesh_policy("default", "STRICT", "2026-01-01T00:00:00Z"))
        .with(mesh_policy("by-hand", "PERMISSIVE", "2025-01-01T00:00:00Z"));
    assert_eq!(
        findings(&strict(), &cluster),
        [
            "Warning /mtls/mode: by-hand also claims to speak for the mesh; the oldest one wins, `by-hand`, and this \
          step's mode has no effect"
        ]
    );
}

#[test]
fn the_rule_of_old_guides_is_pointed_out_where_it_is_left_over() {
    let cluster = FakeCluster::new().with(json!({
        "apiVersion": "networking.istio.io/v1beta1", "kind": "DestinationRule",
        "metadata": { "name": "default", "namespace": "istio-system" },
        "spec": { "host": "*.local", "trafficPolicy": { "tls": { "mode": "ISTIO_MUTUAL" } } },
    }));
    assert_eq!(
        findings(&config(json!({})), &cluster),
        [
            "Warning /mtls/legacy_destination_rule: DestinationRule istio-system/default turns automatic mutual TLS off \
          for every service"
        ]
    );
}

#[test]
fn the_rule_of_old_guides_names_what_it_breaks() {
    let config = config(json!({ "mtls": { "legacy_destination_rule": true } }));
    let service = |name: &str, app: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": "shop" },
            "spec": { "selector": { "app": app } },
        })
    };
    let cluster = shop().with(service("web", "web")).with(service("old", "old"));
    assert_eq!(
        findings(&config, &cluster),
        [
            "Warning /mtls/legacy_destination_rule: meshed pods will not reach services without sidecars: shop/old"
        ]
    );
}

#[test]
fn denying_by_default_names_who_is_shut_out() {
    let config = config(json!({ "authorization": { "deny_by_default": ["istio-system"] } }));
    assert_eq!(
        findings(&config, &shop()),
        [
            "Warning /authorization/deny_by_default/0: no ALLOW policy speaks of istio-system/istio-gateway, shop/web: \
          nothing will reach them"
        ]
    );
}

#[test]
fn lint_finds_what_cannot_work() {
    let config = config(json!({
        "version": "1.30.3",
        "mtls": {
            "namespaces": { "istio-system": "STRICT" },
            "exceptions": [
                { "name": "a", "namespace": "istio-system", "match_labels": { "app": "a" }, "mode": "DISABLE" },
                { "name": "b", "namespace": "shop", "match_labels": {}, "mode": "DISABLE" },
                { "name": "c", "namespace": "shop", "match_labels": { "app": "c" } },
            ],
        },
        "authorization": { "objects": [
            { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x" } },
            {
                "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                "metadata": { "name": "y", "namespace": "shop" },
                "spec": { "rules": [{ "from": [{ "source": { "principals": ["*"] } }] }] },
            },
        ] },
    }));
    assert_eq!(
        texts(&Security::lint(&config)),
        [
            "Error /mtls/namespaces/istio-system: a policy of the root namespace speaks for the whole mesh",
            "Error /mtls/exceptions/0/namespace: Istio ignores selectors in the root namespace",
            "Error /mtls/exceptions/1/match_labels: an exception needs labels to select by",
            "Error /mtls/exceptions/2: an exception needs a mode, or ports with modes",
            "Error /authorization/objects/0: ConfigMap is no authorization policy",
            "Warning /authorization/objects/1/spec/rules: principals and namespaces are known of mutual TLS clients \
             only, and plaintext is taken here",
        ]
    );
}

fn checks(config: &Config, cluster: &FakeCluster) -> Vec<(CheckStatus, String)> {
    let checks = Security::check(config, &cluster.cx("security")).expect("checks");
    checks
        .into_iter()
        .map(|check: Check| (check.status, format!("{}: {}", check.id, check.evidence)))
        .collect()
}

#[test]
fn checks_judge_the_policy_that_wins() {
    let older = || shop().with(mesh_policy("by-hand", "PERMISSIVE", "2025-01-01T00:00:00Z"));
    assert_eq!(
        checks(&strict(), &older().with(mesh_policy("default", "STRICT", "2026-01-01T00:00:00Z")))[0],
        (CheckStatus::Failed, "mtls-mode: PeerAuthentication istio-system/by-hand says PERMISSIVE".into())
    );
    assert_eq!(
        checks(&strict(), &shop().with(mesh_policy("default", "STRICT", "2026-01-01T00:00:00Z"))),
        [
            (CheckStatus::Passed, "mtls-mode: PeerAuthentication istio-system/default".into()),
            (CheckStatus::Warning, "sidecars: 1 pod without: shop/old".into()),
        ]
    );
    assert_eq!(
        checks(&strict(), &FakeCluster::new())[0],
        (CheckStatus::Failed, "mtls-mode: no PeerAuthentication speaks for the mesh".into())
    );
}

#[test]
fn a_rehearsal_has_no_pods_to_judge() {
    let cluster =
        FakeCluster::new().rehearsal().with(mesh_policy("default", "STRICT", "2026-01-01T00:00:00Z"));
    assert_eq!(
        checks(&strict(), &cluster)[1],
        (CheckStatus::Skipped, "sidecars: nothing runs in a rehearsal".into())
    );
}

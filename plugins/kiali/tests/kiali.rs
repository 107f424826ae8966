//! The Kiali step on fake clusters: what it plans, refuses and checks.

use meshrun_kiali::{Config, Kiali};
use meshrun_sdk::{
    Step,
    prelude::{ActionKind, CheckStatus, Plan, Value, json},
    serde_json,
    testing::FakeCluster,
};

fn config(with: Value) -> Config {
    serde_json::from_value(with).expect("a configuration")
}

fn guide() -> Config {
    config(json!({
        "version": "1.74.0",
        "auth_strategy": "anonymous",
        "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "cpu": "500m", "memory": "1Gi" } },
        "prometheus": { "url": "http://prometheus-kube-prometheus-prometheus.observability.svc.cluster.local:9090" },
        "grafana": { "url": "http://grafana.observability.svc.cluster.local:3000" },
    }))
}

fn newest() -> Config {
    config(json!({
        "version": "2.29.0",
        "namespace": "kiali",
        "istio_namespace": "istio-system",
        "grafana": { "url": "http://grafana:3000", "external_url": "https://grafana.example.com" },
        "tracing": { "provider": "tempo", "url": "http://tempo-query-frontend.observability:3200" },
        "values": { "deployment": { "replicas": 2, "custom_secrets": [{ "name": "mine", "mount": "/mine" }] } },
    }))
}

fn plan(config: &Config, cluster: &FakeCluster) -> Plan {
    Kiali::plan(config, &cluster.cx("kiali")).expect("a plan")
}

fn values(plan: &Plan) -> &Value {
    let helm = plan.actions().iter().find_map(|action| match &action.kind {
        ActionKind::Helm(helm) => Some(&helm.values),
        _ => None,
    });
    helm.expect("a helm action")
}

fn lint(with: Value) -> Vec<String> {
    let findings = Kiali::lint(&config(with));
    findings
        .iter()
        .map(|finding| format!("{:?} {}: {}", finding.severity, finding.path, finding.message))
        .collect()
}

#[test]
fn plans_key_chart_and_wait() {
    insta::assert_json_snapshot!("guide", plan(&guide(), &FakeCluster::new()).into_response());
}

#[test]
fn kiali_2_gets_its_own_names() {
    insta::assert_json_snapshot!("newest", values(&plan(&newest(), &FakeCluster::new())));
}

#[test]
fn between_the_generations_tempo_is_spoken_over_http() {
    let config = config(
        json!({ "version": "1.89.0", "tracing": { "provider": "tempo", "url": "http://tempo:3200" } }),
    );
    assert_eq!(
        values(&plan(&config, &FakeCluster::new()))["external_services"]["tracing"],
        json!({ "enabled": true, "in_cluster_url": "http://tempo:3200", "provider": "tempo", "use_grpc": false })
    );
}

#[test]
fn mounts_of_the_raw_values_stay_beside_the_key() {
    let mut older = newest();
    older.version = "2.20.0".parse().expect("a version");
    assert_eq!(
        values(&plan(&older, &FakeCluster::new()))["deployment"]["custom_secrets"],
        json!([
            { "name": "mine", "mount": "/mine" },
            { "name": "kiali-signing-key", "mount": "/kiali-override-secrets/login-token-signing-key" },
        ])
    );
}

#[test]
fn a_key_that_is_there_is_kept() {
    let cluster = FakeCluster::new().with(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "kiali-signing-key", "namespace": "istio-system" },
        "data": { "value.txt": "b2xk" },
    }));
    let response = plan(&guide(), &cluster).into_response();
    let first = serde_json::to_value(&response.actions[0]).expect("JSON");
    assert_eq!(first["do"]["objects"][0]["data"], json!({ "value.txt": "b2xk" }));
}

#[test]
fn a_key_of_the_raw_values_needs_no_secret() {
    let config = config(json!({
        "version": "2.29.0", "values": { "login_token": { "signing_key": "secret:mine:key" } },
    }));
    let plan = plan(&config, &FakeCluster::new());
    let ids: Vec<&str> = plan.actions().iter().map(|action| action.id.as_str()).collect();
    assert_eq!(ids, ["chart", "available"]);
    assert_eq!(values(&plan)["login_token"], json!({ "signing_key": "secret:mine:key" }));
}

#[test]
fn tempo_is_refused_before_1_75() {
    assert_eq!(
        lint(json!({ "version": "1.74.0", "tracing": { "provider": "tempo", "url": "http://tempo:3200" } })),
        ["Error /tracing/provider: Kiali 1.74.0 speaks to Jaeger only; Tempo came with 1.75"]
    );
    assert_eq!(
        lint(json!({ "version": "1.74.0", "tracing": { "url": "http://tempo-query-frontend:3200" } })),
        ["Warning /tracing/url: this looks like Tempo, and Kiali would speak Jaeger's language to it"]
    );
}

#[test]
fn write_access_without_login_is_a_warning_and_exposed_an_error() {
    assert_eq!(lint(json!({ "version": "2.29.0", "auth_strategy": "anonymous" })), Vec::<String>::new());
    assert_eq!(
        lint(json!({ "version": "2.29.0", "auth_strategy": "anonymous", "view_only": false })),
        [
            "Warning /view_only: Kiali would let everybody who reaches it change the mesh: no login and write access"
        ]
    );
    assert_eq!(
        lint(json!({
            "version": "2.29.0", "auth_strategy": "anonymous", "view_only": false,
            "values": { "deployment": { "service_type": "LoadBalancer" } },
        })),
        [
            "Error /view_only: Kiali would let everybody outside the cluster change the mesh: no login, write access, and \
          exposed"
        ]
    );
}

#[test]
fn a_namespace_of_its_own_costs_the_proxy_status() {
    assert_eq!(
        lint(json!({ "version": "2.29.0", "namespace": "kiali", "istio_namespace": "istio-system" })),
        ["Hint /namespace: away from the control plane Kiali sees no proxy status from Istio 1.30 on"]
    );
}

#[test]
fn raw_values_are_looked_at() {
    assert_eq!(
        lint(json!({
            "version": "2.29.0", "web_root": "kiali", "auth_strategy": "openshift",
            "values": {
                "external_service": {},
                "external_services": { "tracing": { "in_cluster_url": "http://jaeger" } },
                "login_token": { "signing_key": "short" },
            },
        })),
        [
            "Error /auth_strategy: login with OpenShift needs Kiali's URL beforehand",
            "Error /web_root: the path must begin with a slash",
            "Error /values/login_token/signing_key: a signing key has 16, 24 or 32 characters, this one 5",
            "Warning /values/external_service: neither chart nor server reads `external_service`",
            "Warning /values/external_services/tracing/in_cluster_url: Kiali 2 has another name for this",
        ]
    );
}

fn running() -> FakeCluster {
    FakeCluster::new()
        .with(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "kiali", "namespace": "istio-system" },
            "status": { "readyReplicas": 1 },
        }))
        .with(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "kiali-1", "namespace": "istio-system",
                "labels": { "app.kubernetes.io/name": "kiali", "app.kubernetes.io/instance": "kiali" },
            },
        }))
}

fn evidence(cluster: &FakeCluster) -> Vec<(CheckStatus, String)> {
    let checks = Kiali::check(&guide(), &cluster.cx("kiali")).expect("checks");
    checks.into_iter().map(|check| (check.status, check.evidence)).collect()
}

#[test]
fn checks_ask_kiali_itself() {
    let healthy = running().answering("pod istio-system/kiali-1:20001/kiali/healthz", 200, "");
    assert_eq!(
        evidence(&healthy),
        [
            (CheckStatus::Passed, "1 of 1 replicas are ready".into()),
            (CheckStatus::Passed, "kiali-1 answers 200".into()),
        ]
    );
    let sick = running().answering("pod istio-system/kiali-1:20001/kiali/healthz", 503, "");
    assert_eq!(evidence(&sick)[1], (CheckStatus::Failed, "kiali-1 answers 503".into()));
    assert_eq!(
        evidence(&running().rehearsal())[1],
        (CheckStatus::Skipped, "nothing runs in a rehearsal".into())
    );
}

//! The telemetry step on fake clusters: what it plans, refuses and checks.

use meshrun_sdk::{
    Step,
    prelude::{CheckStatus, Diagnostic, Plan, Result, Value, json},
    serde_json,
    testing::FakeCluster,
};
use meshrun_telemetry::{Config, Telemetry};

const MONITORING: &str = "monitoring.coreos.com/v1";

fn config(with: Value) -> Config {
    serde_json::from_value(with).expect("a configuration")
}

/// The guide's telemetry, with providers that exist.
fn guide() -> Config {
    config(json!({
        "version": "1.19.3",
        "extension_providers": ["tempo", "otel"],
        "tracing": {
            "providers": ["tempo"],
            "sampling": 1.0,
            "custom_tags": {
                "cluster_name": { "literal": "eks-cluster" },
                "user": { "header": "x-user" },
                "zone": { "environment": "ZONE" },
            },
        },
        "access_logging": { "providers": ["otel", "envoy"] },
        "monitors": { "labels": { "release": "prometheus" } },
    }))
}

fn plan(config: &Config, cluster: &FakeCluster) -> Result<Plan> {
    Telemetry::plan(config, &cluster.cx("telemetry"))
}

fn texts(diagnostics: &[Diagnostic]) -> Vec<String> {
    let text = |finding: &Diagnostic| format!("{:?} {}: {}", finding.severity, finding.path, finding.message);
    diagnostics.iter().map(text).collect()
}

fn findings(config: &Config, cluster: &FakeCluster) -> Vec<String> {
    texts(&plan(config, cluster).expect("a plan").into_response().diagnostics)
}

fn with_operator() -> FakeCluster {
    FakeCluster::new().serving(MONITORING, "ServiceMonitor").serving(MONITORING, "PodMonitor")
}

fn mesh_config(mesh: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "istio", "namespace": "istio-system" },
        "data": { "mesh": mesh },
    })
}

#[test]
fn plans_the_telemetry_and_monitors_that_scrape() {
    let response = plan(&guide(), &with_operator()).expect("a plan").into_response();
    insta::assert_json_snapshot!("guide", response);
}

#[test]
fn newer_istio_gets_the_stable_api() {
    let config = config(json!({ "version": "1.30.3", "monitors": { "enabled": false } }));
    let response = plan(&config, &FakeCluster::new()).expect("a plan").into_response();
    insta::assert_json_snapshot!("newest", response);
}

#[test]
fn monitors_are_left_out_where_nobody_would_read_them() {
    assert_eq!(
        findings(&guide(), &FakeCluster::new()),
        ["Hint /monitors: monitors are left out: the cluster serves no ServiceMonitor"]
    );
    let insists = config(json!({ "version": "1.30.3", "monitors": { "enabled": true } }));
    let error = plan(&insists, &FakeCluster::new()).expect_err("no operator");
    assert_eq!(error.to_string(), "the cluster serves no ServiceMonitor and PodMonitor");
}

#[test]
fn monitors_that_no_prometheus_selects_are_a_warning() {
    let prometheus = json!({
        "apiVersion": MONITORING, "kind": "Prometheus", "metadata": { "name": "main", "namespace": "observability" },
        "spec": {
            "serviceMonitorSelector": { "matchLabels": { "release": "stack" } },
            "podMonitorSelector": {},
        },
    });
    let response = plan(&guide(), &with_operator().with(prometheus)).expect("a plan").into_response();
    assert_eq!(
        texts(&response.diagnostics),
        ["Warning /monitors/labels: no Prometheus of the cluster selects these monitors"]
    );
    assert_eq!(
        response.diagnostics[0].hint.as_deref(),
        Some("set `monitors.labels`: Prometheus main selects {\"release\":\"stack\"}")
    );
}

#[test]
fn lint_refuses_providers_that_nobody_defines() {
    let config = config(json!({
        "version": "1.30.3",
        "extension_providers": ["zipkin"],
        "tracing": { "providers": ["tempo", "zipkin"], "sampling": 150.0 },
        "access_logging": { "providers": ["otel"] },
    }));
    assert_eq!(
        texts(&Telemetry::lint(&config)),
        [
            "Error /tracing/providers/0: no provider `tempo` is defined in the mesh; Istio would turn tracing off in \
             the whole mesh",
            "Error /access_logging/providers/0: no provider `otel` is defined in the mesh; Istio would skip it silently",
            "Warning /tracing/providers: Istio traces to one provider and takes the first",
            "Error /tracing/sampling: sampling is a share in percent, between 0 and 100",
            "Warning /access_logging/providers: access logs no longer appear in `kubectl logs`",
        ]
    );
}

#[test]
fn the_cluster_is_asked_where_the_pipeline_does_not_say() {
    let config = config(json!({ "version": "1.30.3", "tracing": { "providers": ["tempo"] } }));
    let unknown = FakeCluster::new().with(mesh_config("extensionProviders:\n- name: zipkin\n"));
    let error = plan(&config, &unknown).expect_err("tempo is not defined");
    assert_eq!(
        error.to_string(),
        "no provider `tempo` is defined in the mesh; Istio would turn tracing off in the whole mesh"
    );
    let known = FakeCluster::new().with(mesh_config("extensionProviders:\n- name: tempo\n"));
    assert_eq!(findings(&config, &known).len(), 1, "only the hint about monitors");
    assert_eq!(
        findings(&config, &FakeCluster::new())[0],
        "Warning /tracing/providers/0: whether `tempo` is defined is not known: there is no mesh configuration yet"
    );
}

#[test]
fn a_provider_that_istiod_is_about_to_define_is_a_warning() {
    let cluster = with_operator().with(mesh_config("extensionProviders:\n- name: otel\n"));
    assert_eq!(
        findings(&guide(), &cluster),
        ["Warning /tracing/providers/0: the mesh configuration in the cluster does not define `tempo` yet"]
    );
}

#[test]
fn a_second_telemetry_for_the_mesh_is_named() {
    let cluster = with_operator().with(json!({
        "apiVersion": "telemetry.istio.io/v1alpha1", "kind": "Telemetry",
        "metadata": { "name": "mesh-default", "namespace": "istio-system" }, "spec": {},
    }));
    assert_eq!(
        findings(&guide(), &cluster),
        [
            "Warning /namespace: Telemetry mesh-default also speaks for the whole mesh; Istio takes only the oldest"
        ]
    );
}

#[test]
fn checks_look_at_what_the_mesh_knows() {
    let telemetry = json!({
        "apiVersion": "telemetry.istio.io/v1alpha1", "kind": "Telemetry",
        "metadata": { "name": "default", "namespace": "istio-system" }, "spec": {},
    });
    let cluster = FakeCluster::new().with(telemetry).with(mesh_config("extensionProviders:\n- name: otel\n"));
    let checks = Telemetry::check(&guide(), &cluster.cx("telemetry")).expect("checks");
    let seen: Vec<(CheckStatus, &str)> =
        checks.iter().map(|check| (check.status, check.evidence.as_str())).collect();
    assert_eq!(
        seen,
        [
            (CheckStatus::Passed, "it is there"),
            (CheckStatus::Failed, "not defined: tempo"),
            (CheckStatus::Skipped, "the cluster serves no ServiceMonitor"),
        ]
    );
}

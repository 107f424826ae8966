//! The verify step on fake clusters: a healthy mesh, a broken one, a rehearsal, and a cluster that lets nobody look.

use meshrun_sdk::{
    Step,
    prelude::{Check, CheckStatus, Value, json},
    serde_json,
    testing::FakeCluster,
};
use meshrun_verify::{Config, Verify};

const ADMISSION: &str = "admissionregistration.k8s.io/v1";

fn config(with: Value) -> Config {
    serde_json::from_value(with).expect("a configuration")
}

fn whole() -> Config {
    config(json!({ "version": "1.19.3", "gateway": {}, "mtls": "STRICT", "kiali": {} }))
}

fn checks(config: &Config, cluster: &FakeCluster) -> Vec<Check> {
    Verify::check(config, &cluster.cx("verify")).expect("checks")
}

/// One line a check, as people read it.
fn report(config: &Config, cluster: &FakeCluster) -> String {
    let line = |check: &Check| {
        let hint = check.hint.as_ref().map(|hint| format!("\n      hint: {hint}")).unwrap_or_default();
        format!("{:?} {}: {}: {}{hint}\n", check.status, check.id, check.title, check.evidence)
    };
    checks(config, cluster).iter().map(line).collect()
}

fn evidence(config: &Config, cluster: &FakeCluster, id: &str) -> (CheckStatus, String) {
    let checks = checks(config, cluster);
    let check = checks.iter().find(|check| check.id == id).expect("the check");
    (check.status, check.evidence.clone())
}

fn pod(name: &str, labels: Value, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "istio-system", "labels": labels },
        "spec": { "containers": [{ "name": if image.contains("proxy") { "istio-proxy" } else { "main" }, "image": image }] },
        "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

fn istiod(name: &str) -> Value {
    pod(name, json!({ "app": "istiod", "istio.io/rev": "default" }), "docker.io/istio/pilot:1.19.3")
}

fn gateway_pod() -> Value {
    pod("istio-gateway-1", json!({ "istio": "gateway" }), "docker.io/istio/proxyv2:1.19.3")
}

fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": "istio-system" },
        "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": image }] } } },
        "status": { "readyReplicas": 1 },
    })
}

fn endpoint_slice(service: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": service, "namespace": "istio-system", "labels": { "kubernetes.io/service-name": service },
        },
        "endpoints": [{ "conditions": { "ready": true } }],
    })
}

fn webhooks(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": ADMISSION, "kind": kind, "metadata": { "name": name },
        "webhooks": [{ "name": "w.istio.io", "clientConfig": { "caBundle": "eA==" }, "failurePolicy": "Fail" }],
    })
}

fn with_crds(cluster: FakeCluster) -> FakeCluster {
    let groups = [
        (
            "networking",
            "destinationrules envoyfilters gateways proxyconfigs serviceentries sidecars virtualservices workloadentries workloadgroups",
        ),
        ("security", "authorizationpolicies peerauthentications requestauthentications"),
        ("telemetry", "telemetries"),
        ("extensions", "wasmplugins"),
    ];
    groups
        .iter()
        .flat_map(|(group, plurals)| {
            plurals.split(' ').map(move |plural| format!("{plural}.{group}.istio.io"))
        })
        .fold(cluster, |cluster, name| {
            cluster.with(json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": { "name": name },
                "status": { "conditions": [{ "type": "Established", "status": "True" }] },
            }))
        })
}

fn service(status: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "istio-gateway", "namespace": "istio-system" },
        "spec": { "type": "LoadBalancer", "selector": { "istio": "gateway" }, "ports": [{ "port": 80 }] },
        "status": status,
    })
}

fn gateway(selector: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1beta1", "kind": "Gateway",
        "metadata": { "name": "default-gateway", "namespace": "istio-system" },
        "spec": {
            "selector": { "istio": selector },
            "servers": [{ "tls": { "mode": "SIMPLE", "credentialName": "default-gateway-certs" } }],
        },
    })
}

fn strict() -> Value {
    json!({
        "apiVersion": "security.istio.io/v1beta1", "kind": "PeerAuthentication",
        "metadata": { "name": "default", "namespace": "istio-system" },
        "spec": { "mtls": { "mode": "STRICT" } },
    })
}

/// What the pipeline itself puts there, and nothing that has to run.
fn applied() -> FakeCluster {
    with_crds(FakeCluster::new())
        .with(deployment("istiod", "docker.io/istio/pilot:1.19.3"))
        .with(deployment("kiali", "quay.io/kiali/kiali:v1.74.0"))
        .with(webhooks("MutatingWebhookConfiguration", "istio-sidecar-injector"))
        .with(webhooks("ValidatingWebhookConfiguration", "istiod-default-validator"))
        .with(gateway("gateway"))
        .with(strict())
}

fn synced(proxy: &str) -> Value {
    json!({ "proxy": proxy, "istio_version": "1.19.3", "cluster_sent": "a", "cluster_acked": "a", "route_sent": "" })
}

fn healthy() -> FakeCluster {
    applied()
        .with(service(json!({ "loadBalancer": { "ingress": [{ "hostname": "lb.example.com" }] } })))
        .with(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "default-gateway-certs", "namespace": "istio-system" },
            "data": { "tls.crt": "eA==", "tls.key": "eA==" },
        }))
        .with(istiod("istiod-1"))
        .with(istiod("istiod-2"))
        .with(gateway_pod())
        .with(endpoint_slice("istiod"))
        .with(endpoint_slice("istio-gateway"))
        .answering("pod istio-system/istiod-1:15014/version", 200, "1.19.3-abc-Clean")
        .answering("pod istio-system/istiod-2:15014/version", 200, "1.19.3-abc-Clean")
        .answering(
            "pod istio-system/istiod-1:15014/debug/syncz",
            200,
            &json!([synced("gateway.istio-system")]).to_string(),
        )
        .answering(
            "pod istio-system/istiod-2:15014/debug/syncz",
            200,
            &json!([synced("web.shop")]).to_string(),
        )
        .answering("pod istio-system/istio-gateway-1:15021/healthz/ready", 200, "")
        .answering("lb.example.com:80/", 301, "")
}

#[test]
fn a_healthy_mesh_passes_everywhere() {
    let report = report(&whole(), &healthy());
    insta::assert_snapshot!("healthy", report);
}

#[test]
fn an_empty_cluster_fails_everywhere() {
    insta::assert_snapshot!("empty", report(&whole(), &FakeCluster::new()));
}

#[test]
fn a_rehearsal_skips_what_has_to_run() {
    let cluster = applied().with(service(json!({}))).rehearsal();
    insta::assert_snapshot!("rehearsal", report(&whole(), &cluster));
}

#[test]
fn a_cluster_that_lets_nobody_look_is_no_evidence() {
    let cluster = FakeCluster::new().forbidding("pods is forbidden");
    let seen = checks(&whole(), &cluster);
    assert!(
        seen.iter()
            .all(|check| check.status == CheckStatus::Skipped && check.evidence == "pods is forbidden")
    );
}

#[test]
fn pods_that_are_not_ready_say_why() {
    let mut broken = gateway_pod();
    broken["spec"]["containers"][0]["image"] = json!("auto");
    broken["status"] = json!({
        "phase": "Pending",
        "containerStatuses": [{ "state": { "waiting": { "reason": "ErrImagePull" } }, "restartCount": 3 }],
    });
    let mut unscheduled = istiod("istiod-1");
    unscheduled["status"] = json!({
        "phase": "Pending",
        "conditions": [{ "type": "PodScheduled", "status": "False", "message": "0/3 nodes are available" }],
    });
    let cluster = FakeCluster::new().with(broken).with(unscheduled).with(istiod("istiod-2"));
    let seen = checks(&whole(), &cluster);
    assert_eq!(
        seen[0].evidence,
        "2 of 3 pods not ready: istio-system/istio-gateway-1 (ErrImagePull, restarted 3 times), istio-system/istiod-1 \
         (0/3 nodes are available)"
    );
    assert_eq!(
        seen[0].hint.as_deref(),
        Some("delete the pods with the image `auto`: they were created while no injector answered")
    );
}

#[test]
fn what_runs_is_told_from_what_was_ordered() {
    let cluster = applied().with(istiod("istiod-1")).answering(
        "pod istio-system/istiod-1:15014/version",
        200,
        "1.18.2-abc-Clean",
    );
    assert_eq!(
        evidence(&whole(), &cluster, "istiod-image"),
        (CheckStatus::Passed, "docker.io/istio/pilot:1.19.3".into())
    );
    assert_eq!(
        evidence(&whole(), &cluster, "istiod-version"),
        (CheckStatus::Failed, "istiod-1 runs 1.18.2".into())
    );
    let silent = applied().with(istiod("istiod-1"));
    assert_eq!(
        evidence(&whole(), &silent, "istiod-version"),
        (CheckStatus::Warning, "istiod-1: no answer from pod istio-system/istiod-1:15014/version".into())
    );
}

fn syncz(entries: &Value) -> FakeCluster {
    FakeCluster::new().with(istiod("istiod-1")).answering(
        "pod istio-system/istiod-1:15014/debug/syncz",
        200,
        &entries.to_string(),
    )
}

#[test]
fn proxies_that_lag_behind_are_named() {
    let cluster = syncz(&json!([
        synced("a.shop"),
        { "proxy": "b.shop", "istio_version": "1.18.2", "listener_sent": "x", "listener_acked": "", "route_sent": "y",
          "route_acked": "w" },
    ]));
    assert_eq!(
        evidence(&whole(), &cluster, "proxies-in-sync"),
        (CheckStatus::Warning, "b.shop has not acknowledged: listener, route".into())
    );
    assert_eq!(
        evidence(&whole(), &cluster, "proxy-versions"),
        (CheckStatus::Warning, "b.shop runs 1.18.2".into())
    );
}

#[test]
fn proxies_too_far_from_istiod_are_told_apart() {
    let of_version = |version: &str| syncz(&json!([{ "proxy": "a.shop", "istio_version": version }]));
    assert_eq!(
        evidence(&whole(), &of_version("1.20.8"), "proxy-versions"),
        (CheckStatus::Failed, "of a later minor than istiod: a.shop runs 1.20.8".into())
    );
    assert_eq!(
        evidence(&whole(), &of_version("1.17.8"), "proxy-versions"),
        (CheckStatus::Warning, "more than one minor behind istiod: a.shop runs 1.17.8".into())
    );
}

#[test]
fn a_proxy_that_moved_counts_with_its_newer_state() {
    let stale =
        json!({ "proxy": "a.shop", "istio_version": "1.19.3", "cluster_sent": "b", "cluster_acked": "a" });
    let cluster = syncz(&json!([stale, synced("a.shop"), stale]));
    assert_eq!(evidence(&whole(), &cluster, "proxies-in-sync"), (CheckStatus::Passed, "all 1 are".into()));
}

#[test]
fn a_refused_configuration_is_a_failure() {
    let cluster = syncz(&json!([{
        "proxy": "a.shop", "istio_version": "1.19.3",
        "resources": { "Listener": { "sent": "b", "acked": "a", "lastError": "bad address" } },
    }]));
    assert_eq!(
        evidence(&whole(), &cluster, "proxies-in-sync"),
        (CheckStatus::Failed, "a.shop refused it: bad address".into())
    );
}

#[test]
fn a_gateway_object_that_nothing_serves_is_a_failure() {
    let cluster = FakeCluster::new().with(gateway("ingressgateway")).with(gateway_pod());
    assert_eq!(
        evidence(&whole(), &cluster, "gateway-selectors"),
        (CheckStatus::Failed, "istio-system/default-gateway selects {\"istio\":\"ingressgateway\"}".into())
    );
    assert_eq!(
        evidence(&whole(), &cluster, "gateway-credentials"),
        (CheckStatus::Failed, "no certificate in Secret istio-system/default-gateway-certs".into())
    );
}

#[test]
fn an_unexpected_answer_of_the_gateway_is_a_failure() {
    let with = |status| {
        FakeCluster::new()
            .with(service(json!({ "loadBalancer": { "ingress": [{ "ip": "203.0.113.7" }] } })))
            .answering("203.0.113.7:80/", status, "")
    };
    assert_eq!(
        evidence(&whole(), &with(503), "gateway-answers"),
        (CheckStatus::Failed, "http://203.0.113.7/ answers 503, not 200 or 301 or 404".into())
    );
    assert_eq!(evidence(&whole(), &with(404), "gateway-answers").0, CheckStatus::Passed);
}

#[test]
fn what_undermines_mutual_tls_is_named() {
    let cluster = FakeCluster::new()
        .with(json!({
            "apiVersion": "networking.istio.io/v1beta1", "kind": "DestinationRule",
            "metadata": { "name": "default", "namespace": "istio-system" },
            "spec": { "host": "*.local", "trafficPolicy": { "tls": { "mode": "ISTIO_MUTUAL" } } },
        }))
        .with(json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": "istio-system", "labels": { "istio-injection": "enabled" } },
        }))
        .with(istiod("istiod-1"));
    assert_eq!(
        evidence(&whole(), &cluster, "destination-rules"),
        (CheckStatus::Warning, "istio-system/default for \"*.local\"".into())
    );
    assert_eq!(
        evidence(&whole(), &cluster, "sidecars"),
        (CheckStatus::Warning, "1 pod without: istio-system/istiod-1".into())
    );
    assert_eq!(
        evidence(&whole(), &cluster, "mtls-mode"),
        (
            CheckStatus::Failed,
            "no PeerAuthentication speaks for the mesh, and Istio's default is PERMISSIVE".into()
        )
    );
}

#[test]
fn it_changes_nothing() {
    let plan = Verify::plan(&whole(), &FakeCluster::new().cx("verify")).expect("a plan");
    assert_eq!(plan.actions(), []);
}

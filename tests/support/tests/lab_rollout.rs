//! The main job: the shipped pipelines bring up the mesh that they describe, and a second run has nothing to do.

mod facts;

use std::collections::BTreeSet;

use meshrun_tests::{Cluster, Finished, Helm, cluster, fixtures, http};
use serde_json::{Value, json};

const MESH: &str = "istio-system";

fn run(cluster: &Cluster, pipeline: &str) -> Finished {
    cluster.meshrun(["run"]).arg(fixtures::pipeline(pipeline)).run()
}

#[test]
fn prod_brings_up_the_mesh_of_the_guide() {
    let cluster = cluster();
    run(&cluster, "prod.yaml").expect_code(0);
    facts::guide(&cluster.objects());
    let releases = ["base-1.19.3", "istiod-1.19.3", "gateway-1.19.3", "kiali-server-1.74.0"];
    releases_are_deployed(&cluster, releases);
    behaves_like_a_mesh(&cluster, "1.19.3");
    a_second_run_writes_nothing(&cluster, "prod.yaml");
    releases_are_deployed(&cluster, releases);

    // What prod.yaml promises about the certificate: the next run after it is there turns HTTPS and the redirect on.
    let secret = format!("create secret tls default-gateway-certs -n {MESH}");
    let files = ["--cert".into(), certificate("cert"), "--key".into(), certificate("key")];
    cluster.kubectl(secret.split(' ').map(String::from).chain(files));
    let before = cluster.objects().snapshot();
    let finished = run(&cluster, "prod.yaml").expect_code(0).expect_text("1 updated");
    let after = cluster.objects();
    after.check(
        "Gateway",
        "istio-system/default-gateway",
        &[
            ("/spec/selector", json!({ "istio": "gateway" })),
            ("/spec/servers/0/port/number", json!(80)),
            ("/spec/servers/0/tls", json!({ "httpsRedirect": true })),
            ("/spec/servers/1/port/number", json!(443)),
            ("/spec/servers/1/tls", json!({ "mode": "SIMPLE", "credentialName": "default-gateway-certs" })),
            ("/spec/servers/2", Value::Null),
        ],
    );
    let changes = before.changes(&after.snapshot());
    // The inventory says who changed something last.
    let expected = ["changed Gateway istio-system/default-gateway", "changed Secret default/meshrun.prod"];
    assert_eq!(changes, expected, "{finished}");
    answers_at_the_gateway(&cluster, 301, Some("https://HOST/shop"));
}

#[test]
fn latest_brings_up_the_newest_mesh() {
    let cluster = cluster();
    run(&cluster, "latest.yaml").expect_code(0);
    facts::latest(&cluster.objects());
    let releases = ["base-1.30.3", "istiod-1.30.3", "gateway-1.30.3", "kiali-server-2.29.0"];
    releases_are_deployed(&cluster, releases);
    behaves_like_a_mesh(&cluster, "1.30.3");
    a_second_run_writes_nothing(&cluster, "latest.yaml");
    releases_are_deployed(&cluster, releases);
}

#[test]
fn annotations_for_an_aws_load_balancer_are_strings() {
    let cluster = cluster();
    for (controller, wanted) in [
        (
            "aws-ccm",
            json!({ "aws-load-balancer-type": "nlb", "aws-load-balancer-cross-zone-load-balancing-enabled": "true" }),
        ),
        (
            "aws-lbc",
            json!({ "aws-load-balancer-type": "external", "aws-load-balancer-scheme": "internet-facing" }),
        ),
    ] {
        cluster
            .meshrun(["run", "--only", "base,istiod,gateway"])
            .arg(format!("--set=steps.gateway.with.service.load_balancer.controller={controller}"))
            .arg(fixtures::pipeline("prod.yaml"))
            .run()
            .expect_code(0);
        let service = cluster.get("service", MESH, "istio-gateway");
        let annotations = service["metadata"]["annotations"].as_object().expect("annotations");
        for (name, value) in wanted.as_object().expect("an object") {
            let name = format!("service.beta.kubernetes.io/{name}");
            assert_eq!(annotations.get(&name), Some(value), "{controller}: {name} in {annotations:?}");
        }
    }
}

#[test]
fn monitors_appear_where_a_prometheus_operator_is() {
    let cluster = cluster();
    for file in fixtures::monitor_crds() {
        cluster.apply(&file);
    }
    cluster.kubectl(["wait", "--for=condition=Established", "crd", "--all"]);
    run(&cluster, "prod.yaml").expect_code(0);
    let objects = cluster.objects();
    // Guide: /stats/prometheus at istiod and at the gateway's status port, where both answer 404, without the label
    // that Prometheus selects by.
    objects.check(
        "ServiceMonitor",
        "istio-system/istio-system",
        &[
            ("/metadata/labels", json!({ "app": "istiod", "release": "prometheus" })),
            ("/spec/selector/matchLabels", json!({ "app": "istiod" })),
            ("/spec/endpoints", json!([{ "port": "http-monitoring", "path": "/metrics" }])),
        ],
    );
    objects.check(
        "PodMonitor",
        "istio-system/istio-gateway",
        &[
            ("/metadata/labels", json!({ "app": "istio-gateway", "release": "prometheus" })),
            ("/spec/selector/matchLabels", json!({ "istio": "gateway" })),
            (
                "/spec/podMetricsEndpoints",
                json!([{ "port": "http-envoy-prom", "path": "/stats/prometheus" }]),
            ),
        ],
    );
    assert_eq!(objects.names("ServiceMonitor").count() + objects.names("PodMonitor").count(), 2);
    // The port names exist where the monitors look for them.
    let ports = objects.of("Service", "istio-system/istiod")["spec"]["ports"].to_string();
    assert!(ports.contains("http-monitoring"), "{ports}");
    for pod in objects.names("Pod").filter(|pod| pod.starts_with("istio-system/istio-gateway")) {
        let ports = objects.of("Pod", pod)["spec"]["containers"][0]["ports"].to_string();
        assert!(ports.contains("http-envoy-prom"), "{pod}: {ports}");
    }
}

#[test]
fn a_rehearsal_makes_the_same_objects_as_a_cluster() {
    let cluster = cluster();
    for pipeline in ["prod.yaml", "latest.yaml"] {
        let file = fixtures::pipeline(pipeline);
        let rehearsal = cluster.meshrun(["rehearse", "--report", "json"]).arg(&file).run().expect_code(0);
        let run = cluster.meshrun(["run", "--report", "json"]).arg(&file).run().expect_code(0);
        let (rehearsed, real) = (created(&rehearsal), created(&run));
        assert_eq!(real, rehearsed, "{pipeline}");
        // What the run says it made is what is there.
        let state = ["Secret default/meshrun.", "/sh.helm.release.v1."];
        let made = cluster.objects().made().into_keys();
        let made: BTreeSet<String> =
            made.filter(|key| !state.iter().any(|state| key.contains(state))).collect();
        // A bare namespace has no field that a manager could own.
        let missing: Vec<&String> =
            real.difference(&made).filter(|key| !key.starts_with("Namespace ")).collect();
        assert!(missing.is_empty() && made.is_subset(&real), "{missing:?} {:?}", made.difference(&real));
        cluster.reset();
    }
}

fn created(finished: &Finished) -> BTreeSet<String> {
    let events = finished.events();
    let created = events.iter().filter(|event| event["event"] == "object-done" && event["done"] == "created");
    created.map(|event| key(&event["object"])).collect()
}

fn key(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match object["namespace"].as_str() {
        Some(namespace) => format!("{} {namespace}/{}", text(&object["kind"]), text(&object["name"])),
        None => format!("{} {}", text(&object["kind"]), text(&object["name"])),
    }
}

/// Both helms list these charts, each deployed under the guide's name, in its first revision.
fn releases_are_deployed(cluster: &Cluster, charts: [&str; 4]) {
    let names = ["istio-base", "istiod", "istio-gateway", "kiali-server"];
    let wanted: BTreeSet<String> =
        names.iter().zip(charts).map(|(name, chart)| format!("{name} {chart} 1 deployed")).collect();
    for helm in [Helm::V3, Helm::V4] {
        let list = cluster.helm_json(helm, &["list", "-A"]);
        let line = |release: &Value| {
            let fields = ["name", "chart", "revision", "status"].map(|field| release[field].as_str());
            fields.map(Option::unwrap_or_default).join(" ")
        };
        let found: BTreeSet<String> = list.as_array().expect("a list").iter().map(line).collect();
        assert_eq!(found, wanted, "{helm:?}");
    }
}

fn behaves_like_a_mesh(cluster: &Cluster, version: &str) {
    let ask = |path: &str| {
        cluster.kubectl([
            "exec",
            "-n",
            MESH,
            "deploy/istiod",
            "--",
            "pilot-discovery",
            "request",
            "GET",
            path,
        ])
    };
    assert!(ask("/version").contains(version));
    let kiali = cluster.forward(MESH, "svc/kiali", 20001);
    assert_eq!(http::request("GET", &kiali.address, "/kiali/healthz", "").expect("an answer").status, 200);
    // A server for HTTP without a route, and no redirect to a port without a certificate.
    answers_at_the_gateway(cluster, 404, None);
}

/// What a visitor of port 80 gets: the Gateway objects decide.
fn answers_at_the_gateway(cluster: &Cluster, status: u16, location: Option<&str>) {
    if let Some(lab) = cluster.lab() {
        let answer = http::request("HEAD", lab.gateway(), "/shop", "").expect("an answer");
        let to = answer.header("Location").map(|to| to.replace(lab.gateway(), "HOST"));
        assert_eq!((answer.status, to.as_deref()), (status, location), "{answer:?}");
    }
}

fn a_second_run_writes_nothing(cluster: &Cluster, pipeline: &str) {
    let before = cluster.objects().snapshot();
    let finished = run(cluster, pipeline).expect_code(0).expect_text("nothing to change");
    let plan = cluster
        .meshrun(["plan", "--detailed-exitcode"])
        .arg(fixtures::pipeline(pipeline))
        .run()
        .expect_code(0);
    // Pods are in it too: none was restarted, Kiali's neither.
    before.assert_unchanged(&cluster.objects().snapshot(), &format!("{finished}{plan}"));
}

/// Path of a self-signed certificate, or its key; kubectl refuses a Secret of anything else.
fn certificate(part: &str) -> String {
    fixtures::root().join(format!("tests/fixtures/tls/{part}.pem")).to_string_lossy().into_owned()
}

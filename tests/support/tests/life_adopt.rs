//! A mesh that people installed with the guide's commands is taken over: the run changes what its corrections say, and
//! from then on every field has one owner.

use std::collections::BTreeSet;

use meshrun_tests::{Cluster, Helm, Objects, cluster, fixtures};
use serde_json::Value;
use tempfile::TempDir;

const MESH: &str = "istio-system";
/// Steps 2, 3, 5 and 10 of the guide. One value differs: an annotation is a string, or the API server refuses it.
const RELEASES: [(&str, &str, &str, &str); 4] = [
    ("istio-base", "base", "1.19.3", "--set global.istioNamespace=istio-system"),
    (
        "istiod",
        "istiod",
        "1.19.3",
        "--set global.istioNamespace=istio-system --set global.meshID=eks-cluster --set global.network=eks-cluster \
         --set pilot.resources.requests.cpu=100m --set pilot.resources.requests.memory=128Mi \
         --set pilot.resources.limits.cpu=500m --set pilot.resources.limits.memory=2Gi \
         --set pilot.env.EXTERNAL_ISTIOD=false --set pilot.env.PILOT_TRACE_SAMPLING=1.0 \
         --set pilot.env.PILOT_ENABLE_WORKLOAD_ENTRY_AUTOREGISTRATION=true \
         --set pilot.env.PILOT_ENABLE_CROSS_CLUSTER_WORKLOAD_ENTRY=true --set pilot.traceSampling=1.0 \
         --set telemetry.v2.enabled=true --set meshConfig.accessLogFile=/dev/stdout \
         --set meshConfig.defaultConfig.gatewayTopology.numTrustedProxies=2 \
         --set meshConfig.defaultConfig.tracing.sampling=1.0",
    ),
    (
        "istio-gateway",
        "gateway",
        "1.19.3",
        r"--set service.type=LoadBalancer
          --set service.annotations.service\.beta\.kubernetes\.io/aws-load-balancer-type=nlb
          --set-string service.annotations.service\.beta\.kubernetes\.io/aws-load-balancer-cross-zone-load-balancing-enabled=true
          --set service.annotations.service\.beta\.kubernetes\.io/aws-load-balancer-backend-protocol=tcp
          --set resources.requests.cpu=100m --set resources.requests.memory=128Mi
          --set resources.limits.cpu=2000m --set resources.limits.memory=1024Mi
          --set autoscaling.enabled=true --set autoscaling.minReplicas=2 --set autoscaling.maxReplicas=4
          --set autoscaling.targetCPUUtilizationPercentage=80 --set podDisruptionBudget.minAvailable=1",
    ),
    (
        "kiali-server",
        "kiali-server",
        "1.74.0",
        "--set auth.strategy=anonymous --set deployment.resources.requests.cpu=100m \
         --set deployment.resources.requests.memory=128Mi --set deployment.resources.limits.cpu=500m \
         --set deployment.resources.limits.memory=1Gi \
         --set external_services.prometheus.url=http://prometheus-kube-prometheus-prometheus.observability.svc.cluster.local:9090 \
         --set external_services.grafana.enabled=true \
         --set external_services.grafana.in_cluster_url=http://grafana.observability.svc.cluster.local:3000 \
         --set external_services.tracing.enabled=true \
         --set external_services.tracing.in_cluster_url=http://tempo-query-frontend.observability.svc.cluster.local:3200 \
         --set server.web_root=/kiali",
    ),
];

/// Steps 6, 7 and 8 of the guide. Step 9 needs the Prometheus operator.
const MANIFEST: &str = r#"{ "apiVersion": "v1", "kind": "List", "items": [
  { "apiVersion": "networking.istio.io/v1beta1", "kind": "Gateway",
    "metadata": { "name": "default-gateway", "namespace": "istio-system" },
    "spec": { "selector": { "istio": "gateway" }, "servers": [
      { "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": ["*"], "tls": { "httpsRedirect": true } },
      { "port": { "number": 443, "name": "https", "protocol": "HTTPS" }, "hosts": ["*"],
        "tls": { "mode": "SIMPLE", "credentialName": "default-gateway-certs" } } ] } },
  { "apiVersion": "security.istio.io/v1beta1", "kind": "PeerAuthentication",
    "metadata": { "name": "default", "namespace": "istio-system" }, "spec": { "mtls": { "mode": "STRICT" } } },
  { "apiVersion": "networking.istio.io/v1beta1", "kind": "DestinationRule",
    "metadata": { "name": "default", "namespace": "istio-system" },
    "spec": { "host": "*.local", "trafficPolicy": { "tls": { "mode": "ISTIO_MUTUAL" } } } },
  { "apiVersion": "telemetry.istio.io/v1alpha1", "kind": "Telemetry",
    "metadata": { "name": "default", "namespace": "istio-system" },
    "spec": { "metrics": [{ "providers": [{ "name": "prometheus" }] }],
      "tracing": [{ "providers": [{ "name": "tempo" }], "customTags": {
        "cluster_name": { "literal": { "value": "eks-cluster" } },
        "environment": { "literal": { "value": "production" } } } }],
      "accessLogging": [{ "providers": [{ "name": "otel" }] }] } }
] }"#;

/// The fields that the run changes, each of which `prod.yaml` explains.
const CORRECTIONS: [&str; 0] = [];

/// Runs the guide's commands by hand.
fn guide(cluster: &Cluster) {
    cluster.kubectl(["create", "namespace", MESH]);
    cluster.kubectl(["label", "namespace", MESH, "app.kubernetes.io/managed-by=manual"]);
    for (release, chart, version, sets) in RELEASES {
        let archive = fixtures::charts().join(format!("{chart}-{version}.tgz"));
        let archive = archive.to_string_lossy();
        let words = ["install", release, &*archive, "--namespace", MESH, "--wait"].into_iter();
        cluster.helm(Helm::V3, words.chain(sets.split_whitespace()));
    }
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("guide.json");
    fs_err::write(&file, MANIFEST).expect("a file");
    cluster.kubectl(["apply", "-f", &file.to_string_lossy()]);
}

#[test]
fn mesh_of_the_guide_is_taken_over() {
    let cluster = cluster();
    if !fixtures::charts().join("istiod-1.19.3.tgz").is_file() {
        return eprintln!("skipped: the real charts are not at hand");
    }
    let wanted = cluster.undisturbed("prod.yaml");
    guide(&cluster);
    let before = cluster.objects();

    let plan =
        cluster.meshrun(["plan", "-o", "json"]).arg(fixtures::pipeline("prod.yaml")).run().expect_code(0);
    let plan: Value = serde_json::from_str(&plan.stdout).expect("JSON");
    let changes = changes(&plan);
    let said: BTreeSet<String> = changes.iter().map(key).collect();
    let adopted = |from: &str| -> BTreeSet<String> {
        changes.iter().filter(|change| change["adopted_from"] == from).map(key).collect()
    };
    assert_eq!(
        adopted("kubectl-client-side-apply"),
        [
            "Gateway istio-system/default-gateway",
            "PeerAuthentication istio-system/default",
            "Telemetry istio-system/default"
        ]
        .map(String::from)
        .into()
    );
    // Everything that helm made, the CRDs from `crds/` too.
    let helms: BTreeSet<String> = before.keys(|object| is_updated_by(object, "helm")).into_iter().collect();
    let helms: BTreeSet<String> = helms
        .into_iter()
        .filter(|key| !key.contains("sh.helm.release") && wanted.contains_key(key))
        .collect();
    assert_eq!(adopted("helm"), helms);
    assert!(helms.len() > 40, "{helms:?}");
    assert_eq!(changed_fields(&changes), CORRECTIONS);
    let told = cluster.meshrun(["plan"]).arg(fixtures::pipeline("prod.yaml")).run().expect_code(0);
    let told =
        told.expect_text("Gateway istio-system/default-gateway (taken over from kubectl-client-side-apply)");
    told.expect_text("Deployment istio-system/istiod (taken over from helm)");

    let finished = cluster
        .meshrun(["run", "--yes", "--report", "json"])
        .arg(fixtures::pipeline("prod.yaml"))
        .run()
        .expect_code(0);
    let events = finished.events();
    let done = |what: &str| -> BTreeSet<String> {
        events
            .iter()
            .filter(|event| event["event"] == "object-done" && event["done"] == what)
            .map(key)
            .collect()
    };
    let all: BTreeSet<String> =
        adopted("helm").union(&adopted("kubectl-client-side-apply")).cloned().collect();
    assert_eq!(done("adopted"), all, "{finished}");
    let written: BTreeSet<String> =
        ["created", "updated", "adopted", "deleted"].into_iter().flat_map(done).collect();
    let unsaid: Vec<&String> = written.iter().filter(|key| !said.contains(*key)).collect();
    assert!(unsaid.is_empty(), "written without having been said: {unsaid:?}\n{finished}");

    let after = cluster.objects();
    // The same mesh as a fresh one; the records of the releases are the next revisions.
    let is_record = |key: &String| key.contains("sh.helm.release") || key.contains("Secret default/meshrun.");
    for (key, object) in wanted.iter().filter(|(key, _)| !is_record(key)) {
        let made = after.made();
        assert_eq!(made.get(key), Some(object), "{key}");
    }
    assert_eq!(
        after.keys(|object| is_updated_by(object, "helm") && object["kind"] != "Secret"),
        untaken(&after)
    );
    assert_eq!(
        after.keys(|object| is_updated_by(object, "kubectl-client-side-apply")),
        ["DestinationRule istio-system/default"]
    );
    let list = cluster.helm_json(Helm::V3, &["list", "-A"]);
    let revisions: BTreeSet<(&str, &str)> = list
        .as_array()
        .expect("a list")
        .iter()
        .filter(|release| release["status"] == "deployed")
        .filter_map(|release| Some((release["name"].as_str()?, release["revision"].as_str()?)))
        .collect();
    // Of the base, the guide and the pipeline want the same: nothing to record.
    let corrected = [("istio-gateway", "2"), ("istiod", "2"), ("kiali-server", "2")];
    assert_eq!(revisions, corrected.into_iter().chain([("istio-base", "1")]).collect(), "{list}");

    let snapshot = after.snapshot();
    let again = cluster
        .meshrun(["run"])
        .arg(fixtures::pipeline("prod.yaml"))
        .run()
        .expect_code(0)
        .expect_text("nothing to change");
    snapshot.assert_unchanged(&cluster.objects().snapshot(), &again);
}

/// What changes in objects that are there already: object and field, sorted.
fn changed_fields(changes: &[Value]) -> Vec<String> {
    let there =
        changes.iter().filter(|change| change["verb"] != "create" && change["verb"] != "create-later");
    let fields = there.flat_map(|change| {
        let fields = change["fields"].as_array().cloned().unwrap_or_default();
        let path = |field: &Value| field["path"].as_str().unwrap_or_default().to_owned();
        fields.into_iter().map(move |field| format!("{}: {}", key(change), path(&field)))
    });
    let mut fields: Vec<String> = fields.collect();
    fields.sort();
    fields
}

/// What helm made and the pipeline does not: nothing is taken from it.
fn untaken(after: &Objects) -> Vec<String> {
    after.keys(|object| {
        is_updated_by(object, "helm")
            && object["kind"] != "Secret"
            && !object["metadata"]["managedFields"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|entry| entry["operation"] == "Apply")
    })
}

fn is_updated_by(object: &Value, manager: &str) -> bool {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut theirs = entries.filter(|entry| entry["manager"] == manager && entry["subresource"].is_null());
    theirs.any(|entry| entry["operation"] == "Update")
}

fn changes(plan: &Value) -> Vec<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let actions = list(&plan["steps"]).into_iter().flat_map(move |step| list(&step["actions"]));
    let changes = actions.flat_map(move |action| action["changes"].as_array().cloned().unwrap_or_default());
    changes.filter(|change| change["verb"] != "unchanged").collect()
}

fn key(value: &Value) -> String {
    let object = &value["object"];
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    match object["namespace"].as_str() {
        Some(namespace) => format!("{} {namespace}/{}", text("kind"), text("name")),
        None => format!("{} {}", text("kind"), text("name")),
    }
}

//! A mesh that people installed with the guide's commands is taken over: the run changes what its corrections say, and
//! from then on every field has one owner.

use std::collections::{BTreeMap, BTreeSet};

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
const CORRECTIONS: [&str; 29] = [
    // num_trusted_proxies 0; the providers that step 8 names are defined.
    "ConfigMap istio-system/istio: .data.mesh",
    // Kiali may only look; no traces from Tempo at 1.74.
    "ConfigMap istio-system/kiali: .data.config.yaml",
    // Two istiods.
    "Deployment istio-system/istiod: .spec.replicas",
    // Three variables that say what istiod does anyway.
    "Deployment istio-system/istiod: .spec.template.spec.containers[discovery].env[EXTERNAL_ISTIOD].name",
    "Deployment istio-system/istiod: .spec.template.spec.containers[discovery].env[EXTERNAL_ISTIOD].value",
    "Deployment istio-system/istiod: .spec.template.spec.containers[discovery].env[PILOT_ENABLE_CROSS_CLUSTER_WORKLOAD_ENTRY].name",
    "Deployment istio-system/istiod: .spec.template.spec.containers[discovery].env[PILOT_ENABLE_CROSS_CLUSTER_WORKLOAD_ENTRY].value",
    "Deployment istio-system/istiod: .spec.template.spec.containers[discovery].env[PILOT_ENABLE_WORKLOAD_ENTRY_AUTOREGISTRATION].name",
    "Deployment istio-system/istiod: .spec.template.spec.containers[discovery].env[PILOT_ENABLE_WORKLOAD_ENTRY_AUTOREGISTRATION].value",
    // Follows its configuration; a signing key that stays the same at every rendering.
    "Deployment istio-system/kiali: .spec.template.metadata.annotations.checksum/config",
    "Deployment istio-system/kiali: .spec.template.spec.containers[kiali].volumeMounts[kiali-signing-key].mountPath",
    "Deployment istio-system/kiali: .spec.template.spec.containers[kiali].volumeMounts[kiali-signing-key].name",
    "Deployment istio-system/kiali: .spec.template.spec.volumes[kiali-signing-key].name",
    "Deployment istio-system/kiali: .spec.template.spec.volumes[kiali-signing-key].secret.defaultMode",
    "Deployment istio-system/kiali: .spec.template.spec.volumes[kiali-signing-key].secret.optional",
    "Deployment istio-system/kiali: .spec.template.spec.volumes[kiali-signing-key].secret.secretName",
    // No redirect and no HTTPS until the certificate is there.
    "Gateway istio-system/default-gateway: .spec.servers[0].tls.httpsRedirect",
    "Gateway istio-system/default-gateway: .spec.servers[1].hosts[0]",
    "Gateway istio-system/default-gateway: .spec.servers[1].port.name",
    "Gateway istio-system/default-gateway: .spec.servers[1].port.number",
    "Gateway istio-system/default-gateway: .spec.servers[1].port.protocol",
    "Gateway istio-system/default-gateway: .spec.servers[1].tls.credentialName",
    "Gateway istio-system/default-gateway: .spec.servers[1].tls.mode",
    // One istiod could not be drained.
    "HorizontalPodAutoscaler istio-system/istiod: .spec.minReplicas",
    // No cluster of AWS, so none of its annotations.
    "Service istio-system/istio-gateway: .metadata.annotations.service.beta.kubernetes.io/aws-load-balancer-backend-protocol",
    "Service istio-system/istio-gateway: .metadata.annotations.service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled",
    "Service istio-system/istio-gateway: .metadata.annotations.service.beta.kubernetes.io/aws-load-balancer-type",
    // Logs on standard output too, and the sampling of step 3 where it is read.
    "Telemetry istio-system/default: .spec.accessLogging[0].providers[envoy].name",
    "Telemetry istio-system/default: .spec.tracing[0].randomSamplingPercentage",
];

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
    assert_eq!(changed_fields(&before, &after), CORRECTIONS, "{finished}");
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

/// What is not the same in objects that were there before, as `Kind name: field`.
fn changed_fields(before: &Objects, after: &Objects) -> Vec<String> {
    let mut changed = Vec::new();
    for key in before
        .keys(|object| is_updated_by(object, "helm") || is_updated_by(object, "kubectl-client-side-apply"))
    {
        let (kind, name) = key.split_once(' ').expect("kind and name");
        // The records of releases are superseded, not changed.
        let Some(object) = after.find(kind, name).filter(|_| kind != "Secret") else { continue };
        let (mut was, mut is) = (BTreeMap::new(), BTreeMap::new());
        leaves("", before.of(kind, name), &mut was);
        leaves("", object, &mut is);
        let paths: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        changed.extend(
            paths
                .into_iter()
                .filter(|path| was.get(*path) != is.get(*path))
                .map(|path| format!("{key}: {path}")),
        );
    }
    changed
}

/// The values of an object by their paths; named items of a list go by their name, and what the server keeps about an
/// object is left out.
fn leaves(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    const KEPT: [&str; 6] = [
        ".status",
        ".metadata.managedFields",
        ".metadata.resourceVersion",
        ".metadata.generation",
        ".metadata.annotations.deployment.kubernetes.io/revision",
        ".metadata.annotations.kubectl.kubernetes.io/last-applied-configuration",
    ];
    match value {
        _ if KEPT.contains(&path) => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                leaves(&format!("{path}.{name}"), value, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let name = item["name"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                leaves(&format!("{path}[{name}]"), item, found);
            }
        }
        value => {
            found.insert(path.to_owned(), value.to_string());
        }
    }
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

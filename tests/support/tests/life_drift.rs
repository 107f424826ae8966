//! `plan` and `status` show what was edited by hand and nothing else, and `run` repairs exactly that.

use std::collections::BTreeMap;

use meshrun_tests::{Cluster, EndState, cluster, fixtures};
use serde_json::{Value, json};

const MESH: &str = "istio-system";

/// The shipped pipelines with the namespace of their gateway and their validating webhooks.
const PIPELINES: [(&str, &str, &[&str]); 2] = [
    ("prod.yaml", MESH, &["istiod-default-validator"]),
    ("latest.yaml", "istio-ingress", &["istiod-default-validator", "istio-validator-istio-system"]),
];

#[test]
fn nothing_has_drifted_after_a_run_and_after_what_controllers_do() {
    for (pipeline, gateway, validators) in PIPELINES {
        let cluster = cluster();
        run(&cluster, pipeline);
        no_drift(&cluster, pipeline);

        istiod_has_patched(&cluster, "mutatingwebhookconfiguration", "istio-sidecar-injector");
        for validator in validators {
            istiod_has_patched(&cluster, "validatingwebhookconfiguration", validator);
        }
        for (namespace, deployment) in [(MESH, "istiod"), (gateway, "istio-gateway")] {
            scaled_by_its_autoscaler(&cluster, namespace, deployment);
        }
        no_drift(&cluster, pipeline);
        // A restart by hand leaves a mark in the template, which is nobody's drift either.
        cluster.kubectl(["rollout", "restart", "-n", MESH, "deployment/kiali"]);
        cluster.kubectl(["rollout", "status", "-n", MESH, "deployment/kiali", "--timeout=60s"]);
        no_drift(&cluster, pipeline);
    }
}

/// Asserts that istiod has put its certificate and its failure policy into all webhooks of a configuration.
fn istiod_has_patched(cluster: &Cluster, kind: &str, name: &str) {
    let configuration = cluster.get(kind, "", name);
    for webhook in configuration["webhooks"].as_array().expect("webhooks") {
        let bundle = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
        assert!(!bundle.is_empty(), "{kind} {name}: {webhook}");
        assert_eq!(webhook["failurePolicy"], "Fail", "{kind} {name}: {webhook}");
    }
    let managed = cluster.kubectl(["get", kind, name, "-o", "json", "--show-managed-fields"]);
    assert!(managed.contains(r#""manager": "pilot-discovery""#), "{managed}");
}

/// Scales a workload as its autoscaler does under load: the lab has no metrics that would make it. It writes replicas
/// through the subresource `scale`, and what it did into its status.
fn scaled_by_its_autoscaler(cluster: &Cluster, namespace: &str, name: &str) {
    let autoscaler = cluster.get("horizontalpodautoscaler", namespace, name);
    let replicas = autoscaler["spec"]["minReplicas"].as_u64().expect("a least number") + 1;
    assert!(autoscaler["spec"]["maxReplicas"].as_u64() >= Some(replicas), "{autoscaler}");
    let patch = |kind: &str, subresource: &str, patch: Value| {
        let subresource = format!("--subresource={subresource}");
        let words = ["patch", kind, name, "-n", namespace, "--type=merge", &subresource];
        let manager = "--field-manager=kube-controller-manager";
        cluster.kubectl(words.into_iter().chain([manager, "-p", &patch.to_string()]));
    };
    patch("deployment", "scale", json!({ "spec": { "replicas": replicas } }));
    let status = json!({ "desiredReplicas": replicas, "currentReplicas": replicas });
    patch("horizontalpodautoscaler", "status", json!({ "status": status }));
    let deployment = format!("deployment/{name}");
    cluster.kubectl(["rollout", "status", "-n", namespace, &deployment, "--timeout=60s"]);
    let deployment = cluster.get("deployment", namespace, name);
    assert_eq!(deployment["status"]["readyReplicas"], replicas, "{deployment}");
}

#[test]
fn every_hand_made_edit_is_shown_and_repaired_and_nothing_else() {
    for (pipeline, gateway, _) in PIPELINES {
        edits_are_shown_and_repaired(&cluster(), pipeline, gateway);
    }
}

fn edits_are_shown_and_repaired(cluster: &Cluster, pipeline: &str, gateway: &str) {
    run(cluster, pipeline);
    let wanted = EndState::read(cluster);
    let mesh = r#"{"data":{"mesh":"accessLogFile: \"\"\n"}}"#;
    let env = r#"{"spec":{"template":{"spec":{"containers":[{"name":"discovery","env":[{"name":"PILOT_TRACE_SAMPLING","value":"100"}]}]}}}}"#;
    let label = r#"{"metadata":{"labels":{"istio":"edited"}}}"#;
    let crd = r#"{"spec":{"names":{"shortNames":["other"]}}}"#;
    let patch = |kind, name, patch| ["patch", kind, name, "-n", MESH, "--type=strategic", "-p", patch];
    let merge = |kind, name, patch| ["patch", kind, name, "-n", gateway, "--type=merge", "-p", patch];
    let budget = format!("PodDisruptionBudget {gateway}/istio-gateway is missing");
    let default_gateway = format!("Gateway {gateway}/default-gateway has changed");
    type Edit<'a> = (&'a [&'a str], &'a str, &'a [&'a str]);
    let edits: [Edit; 6] = [
        (&patch("configmap", "istio", mesh), "ConfigMap istio-system/istio has changed", &["data.mesh"]),
        (
            &patch("deployment", "istiod", env),
            "Deployment istio-system/istiod has changed",
            &["spec.template.spec.containers[name=discovery].env[name=PILOT_TRACE_SAMPLING].value"],
        ),
        (
            &patch("service", "istiod", label),
            "Service istio-system/istiod has changed",
            &["metadata.labels.istio"],
        ),
        (&["delete", "poddisruptionbudget", "istio-gateway", "-n", gateway], &budget, &[]),
        (
            &merge("crd", "gateways.networking.istio.io", crd),
            "CustomResourceDefinition gateways.networking.istio.io has changed",
            &["spec.names.shortNames[0]"],
        ),
        (
            &merge(
                "gateways.networking.istio.io",
                "default-gateway",
                r#"{"spec":{"selector":{"istio":"x"}}}"#,
            ),
            &default_gateway,
            &["spec.selector.istio"],
        ),
    ];
    let mut all = Vec::new();
    for (edit, drift, fields) in &edits {
        cluster.kubectl(*edit);
        all.push(((*drift).to_owned(), *fields));
        let shown = drifted(cluster, pipeline);
        let wanted: BTreeMap<String, Vec<String>> = all
            .iter()
            .map(|(drift, fields)| (drift.clone(), fields.iter().map(|field| (*field).to_owned()).collect()))
            .collect();
        assert_eq!(shown, wanted, "after kubectl {edit:?}");
    }
    let finished =
        cluster.meshrun(["run", "--report", "json"]).arg(fixtures::pipeline(pipeline)).run().expect_code(0);
    let mut written: Vec<String> = finished
        .events()
        .iter()
        .filter(|event| event["event"] == "object-done" && event["done"] != "unchanged")
        .map(|event| event["object"]["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    written.sort();
    let names =
        ["default-gateway", "gateways.networking.istio.io", "istio", "istio-gateway", "istiod", "istiod"];
    assert_eq!(written, names, "{finished}");
    assert_eq!(wanted.wait_for(cluster), Vec::<String>::new(), "{finished}");
    no_drift(cluster, pipeline);
}

#[test]
fn kept_plan_is_carried_out_only_while_it_holds() {
    let cluster = cluster();
    let directory = tempfile::TempDir::new().expect("a directory");
    let file = directory.path().join("plan.json").to_string_lossy().into_owned();
    let pipeline = fixtures::pipeline("prod.yaml");
    let keep = || cluster.meshrun(["plan", "--out", &file]).arg(&pipeline).run().expect_code(0);
    let carry_out = || cluster.meshrun(["run", "--plan", &file]).arg(&pipeline).run();

    keep();
    carry_out().expect_code(0);
    let edit = |value: &str| {
        let patch = json!({ "data": { "mesh": value } }).to_string();
        cluster.kubectl(["patch", "configmap", "istio", "-n", MESH, "--type=merge", "-p", &patch]);
    };
    edit("accessLogFile: one");
    keep();
    edit("accessLogFile: two");
    let before = cluster.objects().snapshot();
    let finished = carry_out()
        .expect_code(6)
        .expect_text("another plan comes out now")
        .expect_text("istio-system/istio");
    before.assert_unchanged(&cluster.objects().snapshot(), &finished);
    keep();
    // What alters nothing of the plan is harmless.
    cluster.kubectl(["annotate", "deployment", "istiod", "-n", MESH, "note=harmless"]);
    carry_out().expect_code(0).expect_text("1 updated");
    no_drift(&cluster, "prod.yaml");
}

fn run(cluster: &Cluster, pipeline: &str) {
    cluster.meshrun(["run"]).arg(fixtures::pipeline(pipeline)).run().expect_code(0);
}

fn no_drift(cluster: &Cluster, pipeline: &str) {
    for command in ["plan", "status"] {
        let asked = cluster.meshrun([command, "--detailed-exitcode"]).arg(fixtures::pipeline(pipeline));
        asked.run().expect_code(0);
    }
}

/// What `status` says has drifted, with the fields that `plan` shows; both must name the same objects.
fn drifted(cluster: &Cluster, pipeline: &str) -> BTreeMap<String, Vec<String>> {
    let ask = |command: &str| -> Value {
        let asked = cluster.meshrun([command, "--detailed-exitcode", "-o", "json"]);
        let finished = asked.arg(fixtures::pipeline(pipeline)).run().expect_code(2);
        serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}\n{finished}"))
    };
    let (plan, status) = (ask("plan"), ask("status"));
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut shown = BTreeMap::new();
    for change in list(&plan["steps"])
        .iter()
        .flat_map(|step| list(&step["actions"]))
        .flat_map(|action| list(&action["changes"]))
        .filter(|change| change["verb"] != "unchanged")
    {
        let object = &change["object"];
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let place = object["namespace"].as_str().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let what = if change["verb"] == "create" { "is missing" } else { "has changed" };
        let fields = list(&change["fields"]);
        let paths = fields.iter().map(|field| field["path"].as_str().unwrap_or_default().to_owned());
        shown.insert(format!("{} {place}{} {what}", text("kind"), text("name")), paths.collect());
    }
    let mut drift: Vec<&str> =
        status["drift"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    drift.sort_unstable();
    assert_eq!(drift, shown.keys().map(String::as_str).collect::<Vec<_>>());
    shown
}

//! What leaves the pipeline is deleted, after a yes; namespaces and CRDs never are.

use std::path::PathBuf;

use meshrun_tests::{Cluster, Finished, Helm, cluster, fixtures};
use serde_json::Value;
use tempfile::TempDir;

/// The shipped pipeline without Kiali.
fn without_kiali(directory: &TempDir) -> PathBuf {
    let text = fs_err::read_to_string(fixtures::pipeline("prod.yaml")).expect("a pipeline");
    let (before, rest) = text.split_once("  # Guide, step 10.").expect("Kiali's step");
    let (_, after) = rest.split_once("  # Guide, verification").expect("the step after it");
    let after = after.replace(", kiali]", "]").replace("      kiali: {}\n", "");
    let file = directory.path().join("prod.yaml");
    fs_err::write(&file, format!("{before}  # Guide, verification{after}")).expect("a file");
    file
}

fn meshrun(cluster: &Cluster, words: &[&str], file: &PathBuf) -> Finished {
    cluster.meshrun(words.iter().copied()).arg(file).run()
}

#[test]
fn step_that_left_the_pipeline_is_deleted_after_a_yes() {
    let cluster = cluster();
    let directory = TempDir::new().expect("a directory");
    meshrun(&cluster, &["run"], &fixtures::pipeline("prod.yaml")).expect_code(0);
    let file = without_kiali(&directory);

    let plan = meshrun(&cluster, &["plan", "-o", "json", "--detailed-exitcode"], &file).expect_code(2);
    let plan: Value = serde_json::from_str(&plan.stdout).expect("JSON");
    let prune = &plan["steps"].as_array().expect("steps").last().expect("the removals");
    assert_eq!(prune["id"], "(prune)");
    let changes = prune["actions"][0]["changes"].as_array().expect("changes");
    assert!(changes.iter().all(|change| change["verb"] == "delete"), "{changes:?}");
    let names: Vec<String> = changes
        .iter()
        .map(|change| {
            let text = |field: &str| change["object"][field].as_str().unwrap_or_default();
            format!("{} {}", text("kind"), text("name"))
        })
        .collect();
    for wanted in ["Deployment kiali", "ClusterRole kiali", "Secret sh.helm.release.v1.kiali-server.v1"] {
        assert!(names.iter().any(|name| name == wanted), "no {wanted} in {names:?}");
    }
    assert!(names.iter().all(|name| name.contains("kiali")), "{names:?}");

    let before = cluster.objects().snapshot();
    let refused =
        meshrun(&cluster, &["run"], &file).expect_code(6).expect_text("there is no terminal to ask on");
    before.assert_unchanged(&cluster.objects().snapshot(), &refused);

    let finished = meshrun(&cluster, &["run", "--yes"], &file).expect_code(0);
    let objects = cluster.objects();
    let left = objects.keys(|object| {
        object["metadata"]["name"].as_str().is_some_and(|name| name.contains("kiali"))
            && object["metadata"]["deletionTimestamp"].is_null()
    });
    // Pods go with their ReplicaSet, a moment later.
    let left: Vec<&String> = left
        .iter()
        .filter(|key| !["Pod", "ReplicaSet", "EndpointSlice"].iter().any(|kind| key.starts_with(kind)))
        .collect();
    assert!(left.is_empty(), "{left:?}\n{finished}");
    let releases = cluster.helm(Helm::V3, ["list", "-A", "--short"]);
    assert_eq!(releases, "istio-base\nistio-gateway\nistiod\n");
    meshrun(&cluster, &["run"], &file).expect_code(0).expect_text("nothing to change");

    // Somebody else's Kiali of the same name is none of the pipeline's business.
    let chart = fixtures::chart("kiali-server", "1.74.0").display().to_string();
    cluster.helm(Helm::V3, ["install", "kiali-server", &chart, "-n", "istio-system"]);
    let before = cluster.objects().snapshot();
    let finished =
        meshrun(&cluster, &["run", "--yes"], &file).expect_code(0).expect_text("nothing to change");
    before.assert_unchanged(&cluster.objects().snapshot(), &finished);
    cluster.helm(Helm::V3, ["uninstall", "kiali-server", "-n", "istio-system"]);

    // It comes back with the step.
    meshrun(&cluster, &["run"], &fixtures::pipeline("prod.yaml")).expect_code(0);
    cluster.objects().of("Deployment", "istio-system/kiali");
}

/// What a plan deletes, as `step: Kind name`.
fn deletions(planned: &Finished) -> Vec<String> {
    let plan: Value = serde_json::from_str(&planned.stdout).expect("JSON");
    let mut found = Vec::new();
    for step in plan["steps"].as_array().expect("steps") {
        let actions = step["actions"].as_array().expect("actions");
        for change in actions.iter().flat_map(|action| action["changes"].as_array().expect("changes")) {
            if change["verb"] == "delete" {
                let object = &change["object"];
                let name = |field: &str| object[field].as_str().unwrap_or_default();
                found.push(format!(
                    "{}: {} {}",
                    step["id"].as_str().unwrap_or_default(),
                    name("kind"),
                    name("name")
                ));
            }
        }
    }
    found
}

#[test]
fn object_that_left_its_chart_is_deleted_by_its_step_and_forgotten() {
    let cluster = cluster();
    let prod = fixtures::pipeline("prod.yaml");
    meshrun(&cluster, &["run"], &prod).expect_code(0);
    let without = "--set=steps.istiod.with.values.global.defaultPodDisruptionBudget.enabled=false";
    let planned = meshrun(&cluster, &["plan", "-o", "json", without], &prod).expect_code(0);
    assert_eq!(deletions(&planned), ["istiod: PodDisruptionBudget istiod"]);
    meshrun(&cluster, &["run", without], &prod).expect_code(6).expect_text("delete PodDisruptionBudget");
    meshrun(&cluster, &["run", without, "--yes"], &prod).expect_code(0).expect_text("1 deleted");

    // One that somebody else makes bears the same name, and is theirs.
    let budget =
        ["create", "pdb", "istiod", "-n", "istio-system", "--selector=app=istiod", "--min-available=1"];
    cluster.kubectl(budget);
    let before = cluster.objects().snapshot();
    let finished = meshrun(&cluster, &["run", without, "--yes"], &prod).expect_code(0);
    before.assert_unchanged(&cluster.objects().snapshot(), &finished);
}

/// The pipeline with a step under another name.
fn renamed(directory: &TempDir, from: &str, to: &str) -> PathBuf {
    let text = fs_err::read_to_string(fixtures::pipeline("prod.yaml")).expect("a pipeline");
    let text = text
        .replace(&format!("- id: {from}\n"), &format!("- id: {to}\n"))
        .replace(&format!("[{from}]"), &format!("[{to}]"))
        .replace(&format!("[{from}, "), &format!("[{to}, "))
        .replace(&format!(", {from}, "), &format!(", {to}, "))
        .replace(&format!(", {from}]"), &format!(", {to}]"))
        .replace(&format!("steps.{from}."), &format!("steps.{to}."));
    let file = directory.path().join("prod.yaml");
    fs_err::write(&file, text).expect("a file");
    file
}

#[test]
fn step_under_another_name_takes_its_objects_along() {
    let cluster = cluster();
    let directory = TempDir::new().expect("a directory");
    meshrun(&cluster, &["run"], &fixtures::pipeline("prod.yaml")).expect_code(0);
    let file = renamed(&directory, "gateway", "ingress");
    // A run of something else does not take them for abandoned.
    let before = cluster.objects().snapshot();
    let finished = meshrun(&cluster, &["run", "--yes", "--only=base"], &file).expect_code(0);
    before.assert_unchanged(&cluster.objects().snapshot(), &finished);

    let finished = meshrun(&cluster, &["run"], &file).expect_code(0).expect_text("nothing to change");
    let changes = before.changes(&cluster.objects().snapshot());
    assert_eq!(changes, ["changed Secret default/meshrun.prod"], "{finished}");
    let status = meshrun(&cluster, &["status", "-o", "json"], &file).expect_code(0);
    let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
    let steps: Vec<&Value> =
        status["steps"].as_array().expect("steps").iter().map(|step| &step["step"]).collect();
    assert!(
        steps.contains(&&Value::from("ingress")) && !steps.contains(&&Value::from("gateway")),
        "{status}"
    );
    // Nothing is left to be recorded.
    let before = cluster.objects().snapshot();
    let finished = meshrun(&cluster, &["run"], &file).expect_code(0);
    before.assert_unchanged(&cluster.objects().snapshot(), &finished);
}

#[test]
fn step_that_is_skipped_keeps_what_it_made() {
    let cluster = cluster();
    let prod = fixtures::pipeline("prod.yaml");
    meshrun(&cluster, &["run"], &prod).expect_code(0);
    let before = cluster.objects().snapshot();
    for words in [
        &["run", "--set", "steps.kiali.if=false", "--set", "steps.verify.if=false"][..],
        &["run", "--only", "base,istiod"],
    ] {
        let finished = meshrun(&cluster, words, &prod).expect_code(0);
        before.assert_unchanged(&cluster.objects().snapshot(), &finished);
    }
}

#[test]
fn namespace_that_left_the_pipeline_is_kept_and_named() {
    let cluster = cluster();
    let directory = TempDir::new().expect("a directory");
    let first = "name: small\nsteps:\n  - id: base\n    uses: istio-base\n    with: { version: 1.30.3, namespace: old }\n";
    let file = directory.path().join("small.yaml");
    fs_err::write(&file, first).expect("a file");
    meshrun(&cluster, &["run"], &file).expect_code(0);
    fs_err::write(&file, first.replace("namespace: old", "namespace: new")).expect("a file");
    let finished = meshrun(&cluster, &["run", "--yes"], &file);
    println!("{finished}");
    let finished = finished.expect_code(0).expect_text("Namespace old left the pipeline and is kept");
    let objects = cluster.objects();
    objects.of("Namespace", "old");
    assert!(objects.find("ServiceAccount", "old/istio-reader-service-account").is_none(), "{finished}");
    assert!(objects.find("Secret", "old/sh.helm.release.v1.istio-base.v1").is_none(), "{finished}");
    objects.of("CustomResourceDefinition", "gateways.networking.istio.io");
}

//! From Istio 1.19.3, whose CRDs helm never upgrades, to 1.30.3, whose CRDs are part of the release; and releases that a
//! killed helm left pending.

use std::io::{Read, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use meshrun_tests::{Cluster, Finished, Helm, cluster, fixtures};
use serde_json::{Value, json};
use tempfile::TempDir;

const MESH: &str = "istio-system";

fn meshrun(cluster: &Cluster, words: &[&str]) -> Finished {
    cluster.meshrun(words.iter().copied()).arg(fixtures::pipeline("prod.yaml")).run()
}

#[test]
fn jump_over_minor_versions_is_refused_unless_insisted_on() {
    let cluster = cluster();
    meshrun(&cluster, &["run"]).expect_code(0);
    let before = cluster.objects().snapshot();
    for command in ["plan", "run"] {
        let refused = meshrun(&cluster, &[command, "--var", "istio=1.30.3"])
            .expect_code(3)
            .expect_text("1.19.3 is installed, 1.30.3 is asked for: more than one minor apart");
        before.assert_unchanged(&cluster.objects().snapshot(), &refused);
    }
    let finished =
        meshrun(&cluster, &["run", "--var", "istio=1.30.3", "--allow-skip", "--yes"]).expect_code(0);

    let objects = cluster.objects();
    // From `crds/` into the release: marked as helm marks them, with the new versions.
    let gateways = objects.of("CustomResourceDefinition", "gateways.networking.istio.io");
    let versions: Vec<&Value> =
        gateways["spec"]["versions"].as_array().expect("versions").iter().map(|one| &one["name"]).collect();
    assert!(versions.contains(&&json!("v1")), "{versions:?}");
    assert_eq!(gateways["metadata"]["annotations"]["meta.helm.sh/release-name"], "istio-base");
    assert_eq!(gateways["metadata"]["labels"]["app.kubernetes.io/managed-by"], "Helm");
    objects.of("CustomResourceDefinition", "trafficextensions.extensions.istio.io");
    // It left the chart; CRDs are never removed.
    objects.of("CustomResourceDefinition", "istiooperators.install.istio.io");
    for (release, revision, chart) in [
        ("istio-base", "2", "base-1.30.3"),
        ("istiod", "2", "istiod-1.30.3"),
        ("istio-gateway", "2", "gateway-1.30.3"),
        ("kiali-server", "1", "kiali-server-1.74.0"),
    ] {
        let history = cluster.helm_json(Helm::V3, &["list", "-A", "--filter", &format!("^{release}$")]);
        let found = (&history[0]["revision"], &history[0]["status"], &history[0]["chart"]);
        assert_eq!(found, (&json!(revision), &json!("deployed"), &json!(chart)), "{finished}");
    }
    let history = cluster.helm_json(Helm::V3, &["history", "istiod", "-n", MESH]);
    assert_eq!(history[0]["status"], "superseded");
    meshrun(&cluster, &["plan", "--var", "istio=1.30.3", "--detailed-exitcode"]).expect_code(0);
    // helm itself can go on from here: nothing stands in its way.
    let chart = fixtures::charts().join("base-1.30.3.tgz").to_string_lossy().into_owned();
    cluster.helm(Helm::V3, ["upgrade", "istio-base", &chart, "-n", MESH, "--reuse-values"]);
}

#[test]
fn release_that_a_killed_helm_left_pending_is_healed_when_it_is_old_enough() {
    let cluster = cluster();
    meshrun(&cluster, &["run"]).expect_code(0);
    pending(&cluster, "istiod", 2, "pending-upgrade", minutes_ago(1));
    // Somebody may be at work on it.
    for command in ["plan", "run"] {
        meshrun(&cluster, &[command]).expect_code(5).expect_text("pending-upgrade");
    }
    cluster.kubectl(["delete", "secret", "-n", MESH, "sh.helm.release.v1.istiod.v2"]);
    pending(&cluster, "istiod", 2, "pending-upgrade", minutes_ago(20));
    meshrun(&cluster, &["plan", "--detailed-exitcode"])
        .expect_code(2)
        .expect_text("left pending-upgrade for 20m");
    let before = cluster.objects().snapshot();
    let refused = meshrun(&cluster, &["run"]).expect_code(6);
    before.assert_unchanged(&cluster.objects().snapshot(), &refused);
    meshrun(&cluster, &["run", "--yes"]).expect_code(0);
    is_deployed(&cluster, "istiod", "3");
    meshrun(&cluster, &["run"]).expect_code(0).expect_text("nothing to change");
    // helm finds nothing in progress.
    let chart = fixtures::charts().join("istiod-1.19.3.tgz").to_string_lossy().into_owned();
    cluster.helm(Helm::V3, ["upgrade", "istiod", &chart, "-n", MESH, "--reuse-values"]);
}

#[test]
fn first_install_that_was_killed_is_healed() {
    let cluster = cluster();
    meshrun(&cluster, &["run"]).expect_code(0);
    cluster.kubectl(["delete", "deployment", "kiali", "-n", MESH]);
    pending(&cluster, "kiali-server", 1, "pending-install", minutes_ago(20));
    meshrun(&cluster, &["run", "--yes"]).expect_code(0);
    is_deployed(&cluster, "kiali-server", "2");
    cluster.objects().of("Deployment", "istio-system/kiali");
}

fn is_deployed(cluster: &Cluster, release: &str, revision: &str) {
    let list = cluster.helm_json(Helm::V3, &["list", "-A", "--all", "--filter", &format!("^{release}$")]);
    assert_eq!((&list[0]["status"], &list[0]["revision"]), (&json!("deployed"), &json!(revision)), "{list}");
    let history = cluster.helm_json(Helm::V3, &["history", release, "-n", MESH]);
    let statuses: Vec<&str> =
        history.as_array().expect("a list").iter().filter_map(|one| one["status"].as_str()).collect();
    assert!(!statuses.iter().any(|status| status.starts_with("pending")), "{statuses:?}");
}

/// Writes the record of a revision as helm has it while it is at work, made from the release's first one.
fn pending(cluster: &Cluster, release: &str, revision: u32, status: &str, since: String) {
    let name = |revision: u32| format!("sh.helm.release.v1.{release}.v{revision}");
    let mut secret = cluster.get("secret", MESH, &name(1));
    let text = |value: &Value| STANDARD.decode(value.as_str().expect("text")).expect("base64");
    let packed = text(&json!(String::from_utf8(text(&secret["data"]["release"])).expect("text")));
    let mut record = String::new();
    GzDecoder::new(packed.as_slice()).read_to_string(&mut record).expect("gzip");
    let mut record: Value = serde_json::from_str(&record).expect("JSON");
    record["version"] = json!(revision);
    record["info"]["status"] = json!(status);
    record["info"]["last_deployed"] = json!(since);
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(record.to_string().as_bytes()).expect("gzip");
    let packed = STANDARD.encode(STANDARD.encode(packer.finish().expect("gzip")));
    secret["data"]["release"] = json!(packed);
    let mut labels = secret["metadata"]["labels"].clone();
    labels["status"] = json!(status);
    labels["version"] = json!(revision.to_string());
    secret["metadata"] = json!({ "name": name(revision), "namespace": MESH, "labels": labels });
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("secret.json");
    fs_err::write(&file, secret.to_string()).expect("a file");
    if revision == 1 {
        cluster.kubectl(["delete", "secret", "-n", MESH, &name(1)]);
    }
    cluster.kubectl(["create", "-f", &file.to_string_lossy()]);
}

/// A time as helm writes it.
fn minutes_ago(minutes: u32) -> String {
    let date = std::process::Command::new("date")
        .args(["-u", "-d", &format!("{minutes} minutes ago"), "+%Y-%m-%dT%H:%M:%SZ"])
        .output();
    String::from_utf8(date.expect("date starts").stdout).expect("text").trim().to_owned()
}

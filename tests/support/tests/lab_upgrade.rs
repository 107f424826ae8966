//! Upgrades on a real API server: a jump is refused unless insisted on, and CRDs of `crds/` become the release's own.

use meshrun_tests::{Cluster, Finished, Helm, cluster, fixtures};
use serde_json::json;

const MESH: &str = "istio-system";
const OLD: &str = "1.19.3";
const NEW: &str = "1.30.3";

fn meshrun(cluster: &Cluster, command: &[&str], version: &str) -> Finished {
    let version = format!("--var=istio={version}");
    cluster.meshrun(command.iter().copied()).arg(version).arg(fixtures::pipeline("minimal.yaml")).run()
}

/// The chart `base` of a version, as a file or a directory of the mirror.
fn base(version: &str) -> String {
    let chart = fixtures::charts().join(format!("base-{version}"));
    let packed = chart.with_file_name(format!("base-{version}.tgz"));
    let chart = if packed.is_file() { packed } else { chart };
    chart.to_str().expect("a path of text").to_owned()
}

/// Upgrades by meshrun (1.30 has no disruption budget for one istiod, so something is deleted) and lets helm, which refuses CRDs that bear no mark of their release, go on from there.
fn upgrade_and_go_on_with_helm(cluster: &Cluster) {
    meshrun(cluster, &["run", "--allow-skip", "--yes"], NEW)
        .expect_code(0)
        .expect_text("1.19.3 is installed, 1.30.3 is asked for: more than one minor apart");
    let crd = "gateways.networking.istio.io";
    let objects = cluster.objects();
    objects.check(
        "CustomResourceDefinition",
        crd,
        &[
            ("/metadata/labels/app.kubernetes.io~1managed-by", json!("Helm")),
            ("/metadata/annotations/meta.helm.sh~1release-name", json!("istio-base")),
            ("/metadata/annotations/meta.helm.sh~1release-namespace", json!(MESH)),
        ],
    );
    assert!(
        objects.find("CustomResourceDefinition", "istiooperators.install.istio.io").is_some(),
        "taken away with its objects"
    );
    cluster.helm(Helm::V3, ["upgrade", "istio-base", &base(NEW), "-n", MESH]);
    let releases = cluster.helm_json(Helm::V3, &["list", "-n", MESH, "--filter", "istio-base"]);
    assert_eq!((&releases[0]["revision"], &releases[0]["status"]), (&json!("3"), &json!("deployed")));
    meshrun(cluster, &["plan", "--detailed-exitcode"], NEW).expect_code(0);
}

#[test]
fn jump_is_refused_until_it_is_insisted_on_and_takes_over_the_crds() {
    let cluster = cluster();
    meshrun(&cluster, &["run"], OLD).expect_code(0);
    let before = cluster.objects().made();
    meshrun(&cluster, &["run"], NEW).expect_code(3).expect_text("[istio/minor-jump]");
    assert_eq!(cluster.objects().made(), before);
    upgrade_and_go_on_with_helm(&cluster);
}

#[test]
fn mesh_that_helm_installed_is_upgraded_with_its_crds() {
    let cluster = cluster();
    cluster.helm(Helm::V3, ["install", "istio-base", &base(OLD), "-n", MESH, "--create-namespace"]);
    let istiod = base(OLD).replace("base-", "istiod-");
    cluster.helm(Helm::V3, ["install", "istiod", &istiod, "-n", MESH, "--wait"]);
    upgrade_and_go_on_with_helm(&cluster);
}

#[test]
fn proxies_that_were_left_behind_are_named() {
    let cluster = cluster();
    let prod = |words: &[&str]| {
        cluster.meshrun(words.iter().copied()).arg(fixtures::pipeline("prod.yaml")).run().expect_code(0)
    };
    prod(&["run"]);
    prod(&["run", "--var", "istio=1.30.3", "--allow-skip", "--yes", "--only", "base,istiod"]);
    // The gateway's pods keep their proxies. The injector names their revision in an annotation, not in a label.
    let planned = prod(&["plan", "--var", "istio=1.30.3"]);
    let planned = planned.expect_text("[istio/data-plane-behind]");
    planned.expect_text("more than one minor older than 1.30.3: 2 proxies (istio-system/istio-gateway-");
}

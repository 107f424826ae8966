//! The releases that meshrun records are releases: helm 3 and helm 4 list, show, roll back and uninstall them, and
//! meshrun goes on from there.

use meshrun_tests::{Cluster, Finished, Helm, cluster, fixtures};
use serde_json::{Value, json};

const RELEASE: &str = "kiali-server";
const MESH: &str = "istio-system";

#[test]
fn helm_3_works_with_the_releases() {
    works_with_the_releases(Helm::V3);
}

#[test]
fn helm_4_works_with_the_releases() {
    works_with_the_releases(Helm::V4);
}

fn works_with_the_releases(helm: Helm) {
    let cluster = cluster();
    run(&cluster, &["--only=base,istiod,kiali"]);
    let more = ["--only=kiali", "--set=steps.kiali.with.resources.limits.cpu=600m"];
    let second = run(&cluster, &more).expect_text("release kiali-server revision 2");

    let history = history(&cluster, helm);
    assert_eq!(history, [(1, "superseded"), (2, "deployed")].map(|(n, s)| (n, s.to_owned())), "{second}");
    let values = cluster.helm_json(helm, &["get", "values", RELEASE, "-n", MESH]);
    assert_eq!(values["deployment"]["resources"]["limits"]["cpu"], "600m", "{values}");
    assert_eq!(cpu(&cluster), "600m");

    cluster.helm(helm, ["rollback", RELEASE, "1", "-n", MESH]);
    assert_eq!(cpu(&cluster), "500m");
    assert_eq!(latest(&cluster, helm), (3, "deployed".into()));

    let third = run(&cluster, &more).expect_text("release kiali-server revision 4");
    assert_eq!(cpu(&cluster), "600m", "{third}");
    assert_eq!(latest(&cluster, helm), (4, "deployed".into()), "{third}");

    cluster.helm(helm, ["uninstall", RELEASE, "-n", MESH, "--wait"]);
    assert!(cluster.objects().find("Deployment", "istio-system/kiali").is_none());
    let fourth = run(&cluster, &more).expect_text("release kiali-server revision 1");
    assert_eq!(cpu(&cluster), "600m", "{fourth}");
    assert_eq!(latest(&cluster, helm), (1, "deployed".into()), "{fourth}");

    run(&cluster, &more).expect_text("nothing to change");
    assert_eq!(latest(&cluster, helm), (1, "deployed".into()));
}

#[test]
fn releases_made_by_helm_are_taken_over() {
    for helm in [Helm::V3, Helm::V4] {
        let cluster = cluster();
        let chart = |name: &str| fixtures::chart(name, "1.30.3").to_string_lossy().into_owned();
        cluster.kubectl(["create", "namespace", MESH]);
        cluster.helm(helm, ["install", "istio-base", &chart("base"), "-n", MESH]);
        cluster.helm(helm, ["install", "istiod", &chart("istiod"), "-n", MESH, "--wait"]);
        let uid = cluster.get("deployment", MESH, "istiod")["metadata"]["uid"].clone();
        let finished = cluster.meshrun(["run"]).arg(fixtures::pipeline("minimal.yaml")).run().expect_code(0);
        assert_eq!(cluster.get("deployment", MESH, "istiod")["metadata"]["uid"], uid, "{helm:?}\n{finished}");
        let again = cluster.meshrun(["run"]).arg(fixtures::pipeline("minimal.yaml")).run().expect_code(0);
        again.expect_text("nothing to change");
        for release in cluster.helm_json(helm, &["list", "-A"]).as_array().expect("a list") {
            assert_eq!(release["status"], "deployed", "{helm:?}: {release}");
        }
    }
}

fn run(cluster: &Cluster, arguments: &[&str]) -> Finished {
    cluster.meshrun(["run"]).args(arguments).arg(fixtures::pipeline("prod.yaml")).run().expect_code(0)
}

fn history(cluster: &Cluster, helm: Helm) -> Vec<(u64, String)> {
    let history = cluster.helm_json(helm, &["history", RELEASE, "-n", MESH]);
    let line = |entry: &Value| {
        assert_eq!(entry["chart"], json!("kiali-server-1.74.0"));
        (entry["revision"].as_u64().unwrap_or(0), entry["status"].as_str().unwrap_or_default().to_owned())
    };
    history.as_array().expect("a list").iter().map(line).collect()
}

fn latest(cluster: &Cluster, helm: Helm) -> (u64, String) {
    history(cluster, helm).pop().expect("a revision")
}

fn cpu(cluster: &Cluster) -> Value {
    let kiali = cluster.get("deployment", MESH, "kiali");
    kiali["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"].clone()
}

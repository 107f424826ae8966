//! The releases that meshrun records are releases: helm 3 and helm 4 list, show, roll back and uninstall them, and
//! meshrun goes on from there.

use meshrun_tests::{Cluster, Finished, Helm, cluster, fixtures};
use serde_json::{Value, json};

const MESH: &str = "istio-system";

/// A release, and a value in one of its objects that another configuration changes.
struct Release {
    name: &'static str,
    chart: &'static str,
    namespace: &'static str,
    /// Kind and name of the object.
    object: [&'static str; 2],
    pointer: &'static str,
    /// As the pipeline has it.
    first: Value,
    /// The other configuration, and what becomes of the value.
    set: &'static str,
    second: Value,
}

/// The releases of a shipped pipeline, in the order of their steps.
fn releases(versions: [&'static str; 4], gateway: &'static str) -> [Release; 4] {
    let [base, istiod, ingress, kiali] = versions;
    let limit = "/spec/template/spec/containers/0/resources/limits/cpu";
    [
        Release {
            name: "istio-base",
            chart: base,
            namespace: MESH,
            object: ["serviceaccount", "istio-reader-service-account"],
            pointer: "/imagePullSecrets",
            first: Value::Null,
            set: "--set=steps.base.with.values={global: {imagePullSecrets: [mirror]}}",
            second: json!([{ "name": "mirror" }]),
        },
        Release {
            name: "istiod",
            chart: istiod,
            namespace: MESH,
            object: ["deployment", "istiod"],
            pointer: limit,
            first: json!("500m"),
            set: "--set=steps.istiod.with.resources.limits.cpu=600m",
            second: json!("600m"),
        },
        Release {
            name: "istio-gateway",
            chart: ingress,
            namespace: gateway,
            object: ["deployment", "istio-gateway"],
            pointer: limit,
            first: json!("2"),
            set: "--set=steps.gateway.with.resources.limits.cpu=1500m",
            second: json!("1500m"),
        },
        Release {
            name: "kiali-server",
            chart: kiali,
            namespace: MESH,
            object: ["deployment", "kiali"],
            pointer: limit,
            first: json!("500m"),
            set: "--set=steps.kiali.with.resources.limits.cpu=600m",
            second: json!("600m"),
        },
    ]
}

#[test]
fn helm_3_works_with_the_releases_of_the_guide() {
    let charts = ["base-1.19.3", "istiod-1.19.3", "gateway-1.19.3", "kiali-server-1.74.0"];
    works_with_the_releases(Helm::V3, "prod.yaml", &releases(charts, MESH));
}

#[test]
fn helm_4_works_with_the_newest_releases() {
    let charts = ["base-1.30.3", "istiod-1.30.3", "gateway-1.30.3", "kiali-server-2.29.0"];
    works_with_the_releases(Helm::V4, "latest.yaml", &releases(charts, "istio-ingress"));
}

fn works_with_the_releases(helm: Helm, pipeline: &str, releases: &[Release; 4]) {
    let cluster = cluster();
    run(&cluster, pipeline, &[]);
    let more: Vec<&str> = releases.iter().map(|release| release.set).collect();
    let mut second = run(&cluster, pipeline, &more);
    for release in releases {
        second = second.expect_text(&format!("release {} revision 2", release.name));
        let history = history(&cluster, helm, release);
        assert_eq!(history, [(1, "superseded"), (2, "deployed")].map(|(n, s)| (n, s.to_owned())), "{second}");
        assert_eq!(value(&cluster, release), release.second, "{}\n{second}", release.name);
    }
    let values = cluster.helm_json(helm, &["get", "values", "kiali-server", "-n", MESH]);
    assert_eq!(values["deployment"]["resources"]["limits"]["cpu"], "600m", "{values}");

    for release in releases {
        // Helm 4 applies on the server, where the first revision's `failurePolicy: Ignore` is in conflict with istiod's
        // `Fail`, whoever installed it.
        let validates = matches!(release.name, "istio-base" | "istiod");
        let force = (helm == Helm::V4 && validates).then_some("--force-conflicts");
        let words = ["rollback", release.name, "1", "-n", release.namespace];
        cluster.helm(helm, words.into_iter().chain(force));
        assert_eq!(value(&cluster, release), release.first, "{}", release.name);
        assert_eq!(latest(&cluster, helm, release), (3, "deployed".into()), "{}", release.name);
    }

    let mut third = run(&cluster, pipeline, &more);
    for release in releases {
        third = third.expect_text(&format!("release {} revision 4", release.name));
        assert_eq!(value(&cluster, release), release.second, "{}\n{third}", release.name);
        assert_eq!(latest(&cluster, helm, release), (4, "deployed".into()), "{}\n{third}", release.name);
    }

    for release in releases.iter().rev() {
        cluster.helm(helm, ["uninstall", release.name, "-n", release.namespace, "--wait"]);
        let [kind, name] = release.object;
        let left = cluster.kubectl(["get", kind, name, "-n", release.namespace, "--ignore-not-found"]);
        assert_eq!(left, "", "{}", release.name);
    }
    let mut fourth = run(&cluster, pipeline, &more);
    for release in releases {
        fourth = fourth.expect_text(&format!("release {} revision 1", release.name));
        assert_eq!(value(&cluster, release), release.second, "{}\n{fourth}", release.name);
    }

    run(&cluster, pipeline, &more).expect_text("nothing to change");
    for release in releases {
        assert_eq!(latest(&cluster, helm, release), (1, "deployed".into()), "{}", release.name);
    }
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
        let finished = finished.expect_text(" adopted");
        assert_eq!(cluster.get("deployment", MESH, "istiod")["metadata"]["uid"], uid, "{helm:?}\n{finished}");
        let again = cluster.meshrun(["run"]).arg(fixtures::pipeline("minimal.yaml")).run().expect_code(0);
        again.expect_text("nothing to change");
        for release in cluster.helm_json(helm, &["list", "-A"]).as_array().expect("a list") {
            assert_eq!(release["status"], "deployed", "{helm:?}: {release}");
        }
    }
}

fn run(cluster: &Cluster, pipeline: &str, arguments: &[&str]) -> Finished {
    cluster.meshrun(["run"]).args(arguments).arg(fixtures::pipeline(pipeline)).run().expect_code(0)
}

fn history(cluster: &Cluster, helm: Helm, release: &Release) -> Vec<(u64, String)> {
    let history = cluster.helm_json(helm, &["history", release.name, "-n", release.namespace]);
    let line = |entry: &Value| {
        assert_eq!(entry["chart"], json!(release.chart));
        (entry["revision"].as_u64().unwrap_or(0), entry["status"].as_str().unwrap_or_default().to_owned())
    };
    history.as_array().expect("a list").iter().map(line).collect()
}

fn latest(cluster: &Cluster, helm: Helm, release: &Release) -> (u64, String) {
    history(cluster, helm, release).pop().expect("a revision")
}

fn value(cluster: &Cluster, release: &Release) -> Value {
    let [kind, name] = release.object;
    let object = cluster.get(kind, release.namespace, name);
    object.pointer(release.pointer).cloned().unwrap_or_default()
}

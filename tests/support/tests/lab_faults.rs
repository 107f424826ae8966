//! What goes wrong in a cluster: pods that never start, webhooks that are down, a load balancer without an address, a
//! server that is busy, and one that does not let us in.

use std::{path::PathBuf, thread, time::Duration};

use meshrun_tests::{Cluster, EndState, Finished, Helm, Lab, cluster, fixtures};
use serde_json::{Value, json};
use tempfile::TempDir;

const MESH: &str = "istio-system";

#[test]
fn a_pod_that_never_starts_fails_its_step_with_the_reason() {
    let cluster = cluster();
    let Some(lab) = cluster.lab() else { return };
    lab.control("POST", "/pods", &json!({ "label": "istio.io/rev=default", "behaviour": "image-pull" }));
    let finished = cluster
        .meshrun(["run", "--report", "json", "--set=steps.istiod.timeout=12s"])
        .arg(fixtures::root().join("tests/fixtures/pipelines/side-by-side.yaml"))
        .run()
        .expect_code(1);
    let events = finished.events();

    let istiod = outcome(&events, "istiod");
    assert_eq!(istiod["outcome"], "failed", "{finished}");
    let message = istiod["error"]["message"].as_str().unwrap_or_default();
    for part in [
        "not ready after 1",
        "Pod istio-system/istiod-",
        "container discovery",
        "ImagePullBackOff",
        "event Failed: ",
    ] {
        assert!(message.contains(part), "no `{part}` in: {message}\n{finished}");
    }
    let gateway = outcome(&events, "gateway");
    assert_eq!(gateway["outcome"], "skipped", "{finished}");
    assert_eq!(gateway["reason"], "needs istiod, which failed", "{finished}");
    // What does not need it is finished.
    assert_eq!(outcome(&events, "canary")["outcome"], "succeeded", "{finished}");
    assert_eq!(cluster.get("deployment", MESH, "istiod-canary")["status"]["readyReplicas"], 1);
}

#[test]
fn a_webhook_that_was_down_costs_seconds_and_not_its_back_off() {
    let cluster = cluster();
    let Some(lab) = cluster.lab() else { return };
    cluster.meshrun(["run", "--only=base,istiod"]).arg(fixtures::pipeline("prod.yaml")).run().expect_code(0);
    lab.control("PATCH", "/double", &json!({ "webhook": "refuse" }));
    let running = cluster
        .meshrun(["run", "--only=gateway", "--report", "json"])
        .arg(fixtures::pipeline("prod.yaml"))
        .start();
    running.wait_for_line("the reason", |line| line.contains("cannot create pods"));
    // Long enough for the ReplicaSet's own back-off to be past five seconds.
    thread::sleep(Duration::from_secs(8));
    lab.control("PATCH", "/double", &json!({ "webhook": "serve" }));
    let back = std::time::Instant::now();
    let finished = running.wait().expect_code(0);
    assert!(back.elapsed() < Duration::from_secs(10), "took {:?}\n{finished}", back.elapsed());
    let events = finished.events();
    let nudged = events.iter().find(|event| event["done"] == "nudged");
    assert_eq!(nudged.map(|event| &event["object"]["kind"]), Some(&json!("ReplicaSet")), "{finished}");
}

#[test]
fn a_load_balancer_without_an_address_is_a_failure_only_where_it_is_required() {
    let cluster = cluster();
    let Some(lab) = cluster.lab() else { return };
    lab.control("PATCH", "/loadbalancer", &json!({ "never": true }));
    let run = |required: bool| {
        cluster
            .meshrun(["run", "--only=base,istiod,gateway", "--report", "json"])
            .arg("--set=steps.gateway.retry={attempts: 1}")
            .arg(format!("--set=steps.gateway.with.address={{timeout: 3, required: {required}}}"))
            .arg(fixtures::pipeline("prod.yaml"))
            .run()
    };
    let tolerated = run(false).expect_code(0);
    let address = action(&tolerated.events(), "gateway", "address");
    assert_eq!(address["outcome"]["outcome"], "tolerated", "{tolerated}");
    let reason = "Service istio-system/istio-gateway has no load balancer address yet";
    assert!(
        address["outcome"]["error"]["message"].as_str().is_some_and(|text| text.contains(reason)),
        "{tolerated}"
    );

    let failed = run(true).expect_code(1);
    let gateway = outcome(&failed.events(), "gateway");
    assert!(gateway["error"]["message"].as_str().is_some_and(|text| text.contains(reason)), "{failed}");
}

#[test]
fn a_record_whose_writing_was_not_answered_is_found_and_not_written_twice() {
    let cluster = cluster();
    let Some(lab) = cluster.lab() else { return };
    // Lock, inventory and releases are created by POST; everything else can be sent twice without harm.
    lab.control(
        "POST",
        "/faults",
        &json!({ "id": "lost", "method": "POST", "reset": true, "afterServer": true }),
    );
    let (finished, faults) = run_with_faults(&cluster, lab, "minimal.yaml");
    assert!(faults[0]["hits"].as_u64() >= Some(4), "{faults}\n{finished}");
    let leases = cluster.kubectl(["get", "lease", "-n", "default"]);
    assert!(leases.is_empty(), "{leases}\n{finished}");
    let releases = cluster.helm(Helm::V3, ["list", "-A", "--short"]);
    assert_eq!(releases, "istio-base\nistiod\n", "{finished}");
    let (again, _) = run_with_faults(&cluster, lab, "minimal.yaml");
    again.expect_text("nothing to change");
}

#[test]
fn watches_that_break_off_are_taken_up_again() {
    let cluster = cluster();
    let Some(lab) = cluster.lab() else { return };
    // In the middle of an event: the first one of any watch is longer than that.
    lab.control("POST", "/faults", &json!({ "id": "cut", "query": "watch=", "cutAfter": 200, "times": 40 }));
    let (finished, faults) = run_with_faults(&cluster, lab, "prod.yaml");
    assert!(faults[0]["hits"].as_u64() >= Some(5), "{faults}\n{finished}");
    cluster.meshrun(["run"]).arg(fixtures::pipeline("prod.yaml")).run().expect_text("nothing to change");
}

#[test]
fn a_server_that_is_busy_and_fails_now_and_then_is_asked_again() {
    let cluster = cluster();
    let Some(lab) = cluster.lab() else { return };
    cluster.meshrun(["run"]).arg(fixtures::pipeline("prod.yaml")).run().expect_code(0);
    let wanted = EndState::read(&cluster);
    cluster.reset();
    lab.control(
        "POST",
        "/faults",
        &json!({ "id": "busy", "status": 429, "retryAfter": 1, "times": 5, "skip": 10 }),
    );
    lab.control(
        "POST",
        "/faults",
        &json!({ "id": "flaky", "status": 500, "percent": 10, "message": "etcdserver: leader changed" }),
    );
    let (finished, faults) = run_with_faults(&cluster, lab, "prod.yaml");
    let hits = |id: &str| {
        let rule = faults.as_array().and_then(|rules| rules.iter().find(|rule| rule["id"] == id));
        rule.and_then(|rule| rule["hits"].as_u64()).unwrap_or_default()
    };
    assert!(hits("busy") == 5 && hits("flaky") > 5, "{faults}\n{finished}");
    let differences = wanted.wait_for(&cluster);
    assert!(differences.is_empty(), "{}\n{finished}", differences.join("\n"));
}

#[test]
fn a_cluster_that_does_not_let_us_in_ends_the_run_before_anything_is_changed() {
    let cluster = cluster();
    cluster.kubectl(["create", "serviceaccount", "reader", "-n", "default"]);
    cluster.kubectl([
        "create",
        "clusterrolebinding",
        "meshrun-reader",
        "--clusterrole=view",
        "--serviceaccount=default:reader",
    ]);
    let token = cluster.kubectl(["create", "token", "reader", "-n", "default"]);
    cluster.kubectl(["create", "serviceaccount", "auditor", "-n", "default"]);
    cluster.kubectl(["create", "clusterrole", "meshrun-auditor", "--verb=get,list,watch", "--resource=*.*"]);
    cluster.kubectl([
        "create",
        "clusterrolebinding",
        "meshrun-auditor",
        "--clusterrole=meshrun-auditor",
        "--serviceaccount=default:auditor",
    ]);
    let auditor = cluster.kubectl(["create", "token", "auditor", "-n", "default"]);
    let home = TempDir::new().expect("a temporary directory");
    let before = cluster.objects().snapshot();
    let cases = [
        ("wrong token", json!({ "token": "wrong" }), None, "does not accept these credentials"),
        ("few rights", json!({ "token": token.trim() }), None, "cannot get resource \"secrets\""),
        (
            "may read and not write",
            json!({ "token": auditor.trim() }),
            None,
            "cannot create resource \"leases\"",
        ),
        (
            "nobody answers",
            json!({ "token": "any" }),
            Some("https://127.0.0.1:1"),
            "connect to https://127.0.0.1:1",
        ),
    ];
    for (name, user, server, says) in cases {
        let kubeconfig = kubeconfig(&cluster, &home, &user, server);
        let finished =
            cluster.meshrun(["run"]).env("KUBECONFIG", kubeconfig).arg(fixtures::pipeline("prod.yaml")).run();
        let finished = finished.expect_code(4).expect_text(says);
        println!("{finished}");
        assert_eq!(lines(&finished, "error: "), 1, "{name}\n{finished}");
        assert_eq!(lines(&finished, "hint: "), 1, "{name}\n{finished}");
        before.assert_unchanged(&cluster.objects().snapshot(), &finished);
    }
}

/// Runs a pipeline through the proxy that plays the faults, to its good end. Returns the faults with their hits, too; none
/// is left.
fn run_with_faults(cluster: &Cluster, lab: &Lab, pipeline: &str) -> (Finished, Value) {
    let run = cluster.meshrun(["run"]).env("KUBECONFIG", lab.proxy_kubeconfig());
    let finished = run.arg(fixtures::pipeline(pipeline)).run().expect_code(0);
    let faults = lab.control("GET", "/faults", &Value::Null);
    lab.control("DELETE", "/faults", &Value::Null);
    (finished, faults)
}

fn lines(finished: &Finished, start: &str) -> usize {
    finished.stderr.lines().filter(|line| line.starts_with(start)).count()
}

/// The cluster's kubeconfig with another user, or another server.
fn kubeconfig(cluster: &Cluster, home: &TempDir, user: &Value, server: Option<&str>) -> PathBuf {
    let text = cluster.kubectl(["config", "view", "--raw", "-o", "json"]);
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["users"][0]["user"] = user.clone();
    if let Some(server) = server {
        config["clusters"][0]["cluster"]["server"] = json!(server);
    }
    let path = home.path().join("kubeconfig");
    fs_err::write(&path, config.to_string()).expect("a writable directory");
    path
}

#[track_caller]
fn outcome(events: &[Value], step: &str) -> Value {
    let finished = events.iter().find(|event| event["event"] == "step-finished" && event["step"] == step);
    finished.unwrap_or_else(|| panic!("{step} did not end"))["outcome"].clone()
}

#[track_caller]
fn action(events: &[Value], step: &str, action: &str) -> Value {
    let finished = events.iter().find(|event| {
        event["event"] == "action-finished" && event["step"] == step && event["action"] == action
    });
    finished.unwrap_or_else(|| panic!("{step}: {action} did not end")).clone()
}

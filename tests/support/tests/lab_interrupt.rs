//! Runs that are stopped or not alone: what they leave is finished by the next one. `life_crash.rs` kills them.

use meshrun_tests::{EndState, cluster, fixtures};
use serde_json::{Value, json};

#[test]
fn ctrl_c_during_a_wait_stops_the_run_and_the_next_one_completes_it() {
    let cluster = cluster();
    let Some(lab) = cluster.lab() else { return };
    cluster.meshrun(["run"]).arg(fixtures::pipeline("prod.yaml")).run().expect_code(0);
    let wanted = EndState::read(&cluster);
    cluster.reset();
    lab.control("POST", "/pods", &json!({ "image": "/pilot:", "behaviour": "image-pull" }));
    let running = cluster.meshrun(["run"]).arg(fixtures::pipeline("prod.yaml")).start();
    running.wait_for_line("the wait", |line| line.contains("istiod: wait for Deployment"));
    running.interrupt();
    let stopped = running.wait().expect_code(130).expect_text(
        "  Done:     base\n  Stopped:  istiod\n  Not run:  gateway, security, telemetry, kiali, verify\n",
    );

    lab.control("DELETE", "/pods", &Value::Null);
    let finished = cluster.meshrun(["run"]).arg(fixtures::pipeline("prod.yaml")).run().expect_code(0);
    let differences = wanted.wait_for(&cluster);
    assert!(differences.is_empty(), "{}\n{stopped}{finished}", differences.join("\n"));
}

#[test]
fn a_second_run_at_once_ends_and_names_who_is_at_work() {
    let cluster = cluster();
    let Some(lab) = cluster.lab() else { return };
    lab.control("POST", "/pods", &json!({ "image": "/pilot:", "behaviour": "never-ready" }));
    let first = cluster.meshrun(["run"]).arg(fixtures::pipeline("prod.yaml")).start();
    first.wait_for_line("the wait", |line| line.contains("istiod: wait for Deployment"));
    let second = cluster.meshrun(["run"]).arg(fixtures::pipeline("prod.yaml")).run();
    let holder = format!("process {}", first.pid());
    second.expect_code(5).expect_text(&holder).expect_text("pipeline `prod` is locked by");
    lab.control("DELETE", "/pods", &Value::Null);
    first.wait().expect_code(0);
}

//! Runs that are stopped, killed or not alone: what they leave is finished by the next one.

use meshrun_tests::{cluster, fixtures};
use serde_json::{Value, json};

#[test]
fn ctrl_c_during_a_wait_stops_the_run_and_the_next_one_completes_it() {
    let cluster = cluster();
    let Some(lab) = cluster.lab() else { return };
    let wanted = cluster.undisturbed("prod.yaml");
    lab.control("POST", "/pods", &json!({ "image": "/pilot:", "behaviour": "image-pull" }));
    let running = cluster.meshrun(["run"]).arg(fixtures::pipeline("prod.yaml")).start();
    running.wait_for_line("the wait", |line| line.contains("istiod: wait for Deployment"));
    running.interrupt();
    let stopped = running.wait().expect_code(130).expect_text("base: done").expect_text("created");
    println!("{stopped}");

    lab.control("DELETE", "/pods", &Value::Null);
    let finished = cluster.meshrun(["run"]).arg(fixtures::pipeline("prod.yaml")).run().expect_code(0);
    cluster.objects().assert_made(&wanted, &finished);
}

#[test]
fn a_run_that_was_killed_is_completed_by_the_next_one() {
    let cluster = cluster();
    let wanted = cluster.undisturbed("prod.yaml");
    for moment in [
        // In the middle of the CRDs.
        "base: helm release",
        "istiod: wait for Deployment",
        // Three steps at work side by side.
        "gateway: helm release",
    ] {
        cluster.reset();
        let running = cluster.meshrun(["run"]).arg(fixtures::pipeline("prod.yaml")).start();
        running.wait_for_line(moment, |line| line.contains(moment));
        let killed = running.kill();
        let finished = cluster.meshrun(["run"]).arg(fixtures::pipeline("prod.yaml")).run();
        println!("{killed}{finished}");
        cluster.objects().assert_made(&wanted, &finished.expect_code(0));
        let plan = cluster.meshrun(["plan", "--detailed-exitcode"]).arg(fixtures::pipeline("prod.yaml"));
        plan.run().expect_code(0);
    }
}

#[test]
fn a_second_run_at_once_ends_and_names_who_is_at_work() {
    let cluster = cluster();
    let Some(lab) = cluster.lab() else { return };
    lab.control("POST", "/pods", &json!({ "image": "/pilot:", "behaviour": "never-ready" }));
    let first = cluster.meshrun(["run"]).arg(fixtures::pipeline("prod.yaml")).start();
    first.wait_for_line("the wait", |line| line.contains("istiod: wait for Deployment"));
    let second = cluster.meshrun(["run"]).arg(fixtures::pipeline("prod.yaml")).run();
    println!("{second}");
    let holder = format!("process {}", first.pid());
    second.expect_code(5).expect_text(&holder).expect_text("pipeline `prod` is locked by");
    lab.control("DELETE", "/pods", &Value::Null);
    first.wait().expect_code(0);
}

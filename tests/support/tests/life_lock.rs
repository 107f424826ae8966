//! Two runs of one pipeline: one works, the other says who does; a holder that died holds nothing.

use std::{ffi::OsStr, time::Duration};

use meshrun_tests::{Cluster, Meshrun, cluster, fixtures};
use serde_json::json;

fn command(cluster: &Cluster, words: &[&str]) -> Meshrun {
    cluster.meshrun(words.iter().copied()).arg(fixtures::pipeline("prod.yaml"))
}

/// A pod that never becomes ready keeps a run waiting.
fn stuck(cluster: &Cluster) -> Option<()> {
    let rule = json!({ "image": "pilot", "behaviour": "never-ready" });
    cluster.lab()?.control("POST", "/pods", &rule);
    Some(())
}

fn heal(cluster: &Cluster) {
    if let Some(lab) = cluster.lab() {
        lab.control("DELETE", "/pods", &json!(null));
    }
}

#[test]
fn second_run_says_who_holds_the_lock() {
    let cluster = cluster();
    if stuck(&cluster).is_none() {
        return;
    }
    let first = command(&cluster, &["run", "--report", "json"]).start();
    first.wait_for_line("the wait for istiod", |line| line.contains("\"waiting\""));
    for words in [&["run"][..], &["destroy", "--yes"]] {
        let second =
            command(&cluster, words).run().expect_code(5).expect_text("pipeline `prod` is locked by");
        let lease = cluster.get("lease", "default", "meshrun.prod");
        let holder = lease["spec"]["holderIdentity"].as_str().expect("a holder").to_owned();
        second.expect_text(&holder);
    }
    command(&cluster, &["status"]).run().expect_code(0).expect_text("locked by");

    // One that waits goes on as soon as the first is done, and finds nothing to do.
    let waiting = command(&cluster, &["run", "--wait-lock", "60s"]).start();
    heal(&cluster);
    first.wait().expect_code(0);
    let waited = waiting.wait().expect_code(0).expect_text("nothing to change");
    println!("{waited}");
    assert!(cluster.kubectl(["get", "lease", "-n", "default"]).is_empty());
}

#[test]
fn killed_holder_of_this_machine_holds_nothing() {
    let cluster = cluster();
    if stuck(&cluster).is_none() {
        return;
    }
    let first = command(&cluster, &["run", "--report", "json"]).start();
    first.wait_for_line("the wait for istiod", |line| line.contains("\"waiting\""));
    let waiting = command(&cluster, &["run", "--wait-lock", "60s"]).start();
    std::thread::sleep(Duration::from_secs(1));
    heal(&cluster);
    first.kill();
    let waited = waiting.wait().expect_code(0);
    assert!(waited.elapsed < Duration::from_secs(30), "{waited}");

    // Without waiting, too: the process is gone, nobody has to find out by a clock.
    let lease = holder_of_another_machine("2000-01-01T00:00:00.000000Z");
    cluster.apply(&lease.path().join("lease.json"));
    cluster.kubectl(["delete", "deployment", "kiali", "-n", "istio-system"]);
    command(&cluster, &["run"]).run().expect_code(0).expect_text("1 created");
    assert!(cluster.kubectl(["get", "lease", "-n", "default"]).is_empty());
}

#[test]
fn silent_holder_of_another_machine_loses_the_lock_when_its_lease_expires() {
    let cluster = cluster();
    let lease = holder_of_another_machine(&ago(0));
    cluster.apply(&lease.path().join("lease.json"));
    command(&cluster, &["run"]).run().expect_code(5).expect_text("locked by someone@elsewhere");
    let waited = command(&cluster, &["run", "--wait-lock", "40s"]).run().expect_code(0);
    assert!(waited.elapsed > Duration::from_secs(5), "{waited}");
}

#[test]
fn holder_whose_clock_may_be_behind_is_watched_before_its_lock_is_taken() {
    let cluster = cluster();
    let lease = holder_of_another_machine(&ago(20));
    cluster.apply(&lease.path().join("lease.json"));
    let watching = command(&cluster, &["run"]).start();
    std::thread::sleep(Duration::from_secs(6));
    let renewed = holder_of_another_machine(&ago(20));
    cluster.apply(&renewed.path().join("lease.json"));
    watching.wait().expect_code(5).expect_text("locked by someone@elsewhere");

    // Now it is silent.
    let waited = command(&cluster, &["run"]).run().expect_code(0);
    assert!(waited.elapsed >= Duration::from_secs(15), "{waited}");
}

#[test]
fn run_whose_lock_another_took_has_failed_and_says_so() {
    let cluster = cluster();
    if stuck(&cluster).is_none() {
        return;
    }
    let running = command(&cluster, &["run", "--report", "json"]).start();
    running.wait_for_line("the wait for istiod", |line| line.contains("\"waiting\""));
    let lease = holder_of_another_machine(&ago(0));
    cluster.kubectl([OsStr::new("replace"), "-f".as_ref(), lease.path().join("lease.json").as_os_str()]);
    let ended = running.wait().expect_code(1);
    ended.expect_text("the lock was lost: somebody else took it").expect_text("\"outcome\":\"failed\"");
    let lease = cluster.get("lease", "default", "meshrun.prod");
    assert_eq!(lease["spec"]["holderIdentity"], "someone@elsewhere");
}

#[test]
fn lock_that_a_dead_run_left_is_cleared_by_a_run_that_has_nothing_to_do() {
    let cluster = cluster();
    command(&cluster, &["run"]).run().expect_code(0);
    let lease = holder_of_another_machine("2000-01-01T00:00:00.000000Z");
    cluster.apply(&lease.path().join("lease.json"));
    command(&cluster, &["run"]).run().expect_code(0).expect_text("nothing to change");
    assert!(cluster.kubectl(["get", "lease", "-n", "default"]).is_empty());
}

/// A Lease as a run on another machine takes it.
fn holder_of_another_machine(renewed: &str) -> tempfile::TempDir {
    let directory = tempfile::TempDir::new().expect("a directory");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "meshrun.prod", "namespace": "default" },
        "spec": { "holderIdentity": "someone@elsewhere", "leaseDurationSeconds": 15,
                  "acquireTime": renewed, "renewTime": renewed },
    });
    fs_err::write(directory.path().join("lease.json"), lease.to_string()).expect("a file");
    directory
}

/// The time so many seconds ago, as the cluster's clock has it, which is this machine's.
fn ago(seconds: u32) -> String {
    let when = format!("{seconds} seconds ago");
    let output =
        std::process::Command::new("date").args(["-u", "-d", &when, "+%Y-%m-%dT%H:%M:%S.%6NZ"]).output();
    String::from_utf8(output.expect("date starts").stdout).expect("text").trim().to_owned()
}

#[test]
fn of_two_runs_begun_at_the_same_moment_one_works_and_the_other_names_it() {
    let cluster = cluster();
    for _ in 0..3 {
        let runs = [(); 2].map(|()| command(&cluster, &["run"]).start());
        let pids = runs.each_ref().map(|run| run.pid());
        let mut ended = runs.map(|run| run.wait());
        let mut winner = pids[0];
        if ended[0].code == Some(5) {
            ended.reverse();
            winner = pids[1];
        }
        let [worked, refused] = ended;
        let worked = worked.expect_code(0).expect_text("created");
        let refused = refused.expect_code(5).expect_text("pipeline `prod` is locked by");
        let refused = refused.expect_text(&format!("process {winner}"));
        assert!(!refused.stdout.contains("apply "), "it worked too\n{refused}{worked}");
        command(&cluster, &["run"]).run().expect_code(0).expect_text("nothing to change");
        cluster.reset();
    }
}

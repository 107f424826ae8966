//! How a run goes its way on a real cluster: retries, conditions, limits, entry points, replacements and signals, with a
//! plugin that applies what it is given and fails while a ConfigMap is missing.

use std::time::{Duration, Instant};

use meshrun_tests::{Cluster, Finished, Meshrun, cluster, plugins};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A directory with a pipeline and the plugin `given`.
struct Scene<'a> {
    cluster: &'a Cluster,
    directory: TempDir,
}

impl<'a> Scene<'a> {
    fn new(cluster: &'a Cluster, pipeline: &str) -> Self {
        let directory = TempDir::new().expect("a directory");
        let library = fs_err::read(plugins::test_plugin("given")).expect("a built plugin");
        fs_err::write(directory.path().join("given.so"), library).expect("a file");
        let text = format!("name: flow\nplugins: {{ given: {{ path: ./given.so }} }}\n{pipeline}");
        fs_err::write(directory.path().join("flow.yaml"), text).expect("a file");
        Self { cluster, directory }
    }

    fn meshrun(&self, words: &[&str]) -> Meshrun {
        self.cluster.meshrun(words).arg("flow.yaml").current_dir(self.directory.path())
    }

    fn run(&self, more: &[&str]) -> Finished {
        self.meshrun(&["run", "--report", "json"]).args(more).run()
    }

    /// Whether a ConfigMap is there.
    fn has(&self, name: &str) -> bool {
        let found = ["get", "configmap", name, "-n", "default", "--ignore-not-found", "-o", "name"];
        !self.cluster.kubectl(found).is_empty()
    }
}

/// A step that makes a ConfigMap of its name: `step("b", "needs: [a]", "")`.
fn step(id: &str, keys: &str, with: &str) -> String {
    let object =
        format!("{{ apiVersion: v1, kind: ConfigMap, metadata: {{ name: {id}, namespace: default }} }}");
    let keys = if keys.is_empty() { String::new() } else { format!("    {keys}\n") };
    format!("  - id: {id}\n    uses: given\n{keys}    with: {{ objects: [{object}]{with} }}\n")
}

/// Fails for good.
const FAILS: &str = ", expect: never";

/// How each step ended, with the reason of one that was skipped.
fn outcomes(finished: &Finished) -> Vec<String> {
    let events = finished.events();
    let ends = events.iter().filter(|event| event["event"] == "step-finished");
    let mut outcomes: Vec<String> = ends
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let outcome = &event["outcome"];
            format!("{} {} {}", text(&event["step"]), text(&outcome["outcome"]), text(&outcome["reason"]))
        })
        .map(|line| line.trim_end().to_owned())
        .collect();
    outcomes.sort();
    outcomes
}

#[test]
fn retried_step_succeeds_once_what_it_lacked_is_there() {
    let cluster = cluster();
    let pipeline = step("a", "retry: { attempts: 2, backoff: 3s }", ", expect: late");
    let scene = Scene::new(&cluster, &format!("steps:\n{pipeline}"));
    let running = scene.meshrun(&["run", "--report", "json"]).start();
    running.wait_for_line("the retry", |line| line.contains("\"step-retrying\""));
    cluster.kubectl(["create", "configmap", "late", "-n", "default"]);
    let finished = running.wait().expect_code(0);
    let attempts: Vec<Value> = finished
        .events()
        .into_iter()
        .filter(|event| event["event"] == "step-started")
        .map(|event| event["attempt"].clone())
        .collect();
    assert_eq!(attempts, [1, 2], "{finished}");
    assert!(finished.elapsed > Duration::from_secs(1), "{finished}");

    // One that never comes costs all attempts and the run.
    cluster.kubectl(["delete", "configmap", "late", "-n", "default"]);
    let pipeline = step("a", "retry: { attempts: 3, backoff: 100ms }", FAILS);
    let scene = Scene::new(&cluster, &format!("steps:\n{pipeline}"));
    let failed = scene.run(&[]).expect_code(1);
    let started = failed.events().iter().filter(|event| event["event"] == "step-started").count();
    assert_eq!(started, 3, "{failed}");
}

#[test]
fn conditions_decide_what_runs_after_a_failure() {
    let cluster = cluster();
    let steps = [
        step("fails", "", FAILS),
        step("after", "needs: [fails]", ""),
        step("cleanup", "needs: [fails]\n    if: failure()", ""),
        step("report", "needs: [after]\n    if: always()", ""),
        step("beside", "", ""),
        step("unneeded", "needs: [beside]\n    if: failure()", ""),
    ];
    let scene = Scene::new(&cluster, &format!("steps:\n{}", steps.concat()));
    let finished = scene.run(&[]).expect_code(1);
    assert_eq!(
        outcomes(&finished),
        [
            "after skipped needs fails, which failed",
            "beside succeeded",
            "cleanup succeeded",
            "fails failed",
            "report succeeded",
            "unneeded skipped `if: failure()` is false",
        ],
        "{finished}"
    );
    let there = ["after", "cleanup", "report", "beside", "unneeded"].map(|name| scene.has(name));
    assert_eq!(there, [false, true, true, true, false], "{finished}");
}

#[test]
fn tolerated_failure_does_not_stop_the_steps_after_it() {
    let cluster = cluster();
    let steps = [step("fails", "continue-on-error: true", FAILS), step("after", "needs: [fails]", "")];
    let scene = Scene::new(&cluster, &format!("steps:\n{}", steps.concat()));
    let finished = scene.run(&[]).expect_code(0);
    assert_eq!(outcomes(&finished), ["after succeeded", "fails failed"], "{finished}");
    assert!(scene.has("after"));
}

#[test]
fn concurrency_of_one_takes_step_after_step() {
    let cluster = cluster();
    let steps: String = ["a", "b", "c"].map(|id| step(id, "", "")).concat();
    let most = |head: &str| {
        let scene = Scene::new(&cluster, &format!("{head}steps:\n{steps}"));
        let finished = scene.run(&[]).expect_code(0);
        let (mut at_work, mut most) = (0_i32, 0);
        for event in finished.events() {
            match event["event"].as_str() {
                Some("step-started") => at_work += 1,
                Some("step-finished") => at_work -= 1,
                _ => {}
            }
            most = most.max(at_work);
        }
        cluster.reset();
        most
    };
    assert_eq!((most("concurrency: 1\n"), most("")), (1, 3));
}

#[test]
fn from_leaves_out_what_comes_before() {
    let cluster = cluster();
    let steps =
        [step("a", "", ""), step("b", "needs: [a]", ""), step("c", "needs: [b]", ""), step("d", "", "")];
    let scene = Scene::new(&cluster, &format!("steps:\n{}", steps.concat()));
    scene.run(&[]).expect_code(0);
    cluster.kubectl(["delete", "configmap", "a", "b", "c", "d", "-n", "default"]);
    let finished = scene.run(&["--from", "b"]).expect_code(0);
    let there = ["a", "b", "c", "d"].map(|name| scene.has(name));
    assert_eq!(there, [false, true, true, false], "{finished}");
}

#[test]
fn isolation_decides_whose_process_a_plugin_runs_in() {
    let cluster = cluster();
    let keep = |id: &str, of: &str| {
        format!(
            "  - id: {id}\n    uses: given\n    needs: [{of}]\n    with:\n      objects:\n        - {{ apiVersion: v1, kind: \
             ConfigMap, metadata: {{ name: {id}, namespace: default }}, data: {{ process: \"${{{{ \
             steps.{of}.outputs.process }}}}\" }} }}\n"
        )
    };
    let steps = [
        step("inside", "isolation: in-process", ""),
        step("outside", "", ""),
        keep("of-inside", "inside"),
        keep("of-outside", "outside"),
    ];
    let scene = Scene::new(&cluster, &format!("steps:\n{}", steps.concat()));
    let running = scene.meshrun(&["run"]).start();
    let own = running.pid().to_string();
    running.wait().expect_code(0);
    let process = |name: &str| cluster.get("configmap", "default", name)["data"]["process"].clone();
    assert_eq!(process("of-inside"), json!(own));
    assert_ne!(process("of-outside"), json!(own));
}

#[test]
fn immutable_field_is_replaced_only_with_a_yes() {
    let cluster = cluster();
    let pipeline = |value: &str| {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "immutable": true,
            "metadata": { "name": "fixed", "namespace": "default" }, "data": { "a": value },
        });
        format!("steps:\n  - id: a\n    uses: given\n    with: {{ objects: [{object}] }}\n")
    };
    Scene::new(&cluster, &pipeline("one")).run(&[]).expect_code(0);
    let uid = |value: &str| {
        let object = cluster.get("configmap", "default", "fixed");
        assert_eq!(object["data"]["a"], value);
        object["metadata"]["uid"].clone()
    };
    let first = uid("one");

    let scene = Scene::new(&cluster, &pipeline("two"));
    let before = cluster.objects().snapshot();
    scene.meshrun(&["plan"]).run().expect_code(0).expect_text("1 to replace");
    let refused = scene.meshrun(&["run"]).run().expect_code(6);
    let refused = refused.expect_text("replace ConfigMap default/fixed").expect_text("--yes");
    assert!(refused.stderr.contains("hint: "), "{refused}");
    before.assert_unchanged(&cluster.objects().snapshot(), &refused);
    assert_eq!(uid("one"), first);

    let done = scene.run(&["--yes"]).expect_code(0);
    assert_ne!(uid("two"), first, "{done}");
    scene.meshrun(&["run"]).run().expect_code(0).expect_text("nothing to change");
}

/// A run that waits a minute for its second attempt.
fn waiting<'a>(cluster: &'a Cluster) -> (Scene<'a>, meshrun_tests::Running) {
    let pipeline = step("a", "retry: { attempts: 2, backoff: 60s }", FAILS);
    let scene = Scene::new(cluster, &format!("steps:\n{pipeline}{}", step("b", "needs: [a]", "")));
    let running = scene.meshrun(&["run", "--report", "json"]).start();
    running.wait_for_line("the retry", |line| line.contains("\"step-retrying\""));
    (scene, running)
}

#[test]
fn sigterm_stops_a_run_as_ctrl_c_does() {
    let cluster = cluster();
    for stop in [meshrun_tests::Running::terminate, meshrun_tests::Running::interrupt] {
        let (scene, running) = waiting(&cluster);
        let told = Instant::now();
        stop(&running);
        let finished = running.wait().expect_code(130);
        assert!(told.elapsed() < Duration::from_secs(10), "{finished}");
        assert!(outcomes(&finished).contains(&"a cancelled".to_owned()), "{finished}");
        assert!(!scene.has("b"), "{finished}");
        assert!(
            cluster.kubectl(["get", "lease", "-n", "default"]).is_empty(),
            "the lock is held\n{finished}"
        );
    }
}

#[test]
fn second_ctrl_c_ends_a_run_that_cannot_stop() {
    let cluster = cluster();
    let Some(lab) = cluster.lab() else { return };
    let (_scene, running) = waiting(&cluster);
    // A server that hangs keeps the run from letting go of its lock.
    lab.control("POST", "/apiserver", &json!({ "action": "pause" }));
    running.interrupt();
    running.wait_for_line("the stop", |line| line.contains("\"interrupted\""));
    std::thread::sleep(Duration::from_secs(1));
    let mut running = running;
    let still = !running.has_ended();
    let told = Instant::now();
    running.interrupt();
    let finished = running.wait();
    lab.control("POST", "/apiserver", &json!({ "action": "resume" }));
    assert!(still, "the first one was enough\n{finished}");
    assert!(told.elapsed() < Duration::from_secs(2), "{finished}");
    finished.expect_code(130);
}

#[test]
fn plugin_that_misbehaves_ends_the_run_before_anything_is_changed() {
    let cluster = cluster();
    let good = step("good", "", "");
    let scene = Scene::new(&cluster, &format!("steps:\n{good}"));
    let library = fs_err::read(plugins::test_plugin("hostile")).expect("a built plugin");
    fs_err::write(scene.directory.path().join("hostile.so"), library).expect("a file");
    let before = cluster.objects().snapshot();
    for (mode, says) in [
        ("panic", "panicked"),
        ("abort", "SIGABRT"),
        ("segv", "SIGSEGV"),
        ("exit", "42"),
        ("overflow", "SIGABRT"),
        ("fail", "the mesh is not ready"),
    ] {
        let text = format!(
            "name: flow\nplugins: {{ given: {{ path: ./given.so }}, hostile: {{ path: ./hostile.so }} }}\nsteps:\n{good}\
             \x20 - {{ id: bad, uses: hostile, needs: [good], with: {{ mode: {mode} }} }}\n"
        );
        fs_err::write(scene.directory.path().join("flow.yaml"), text).expect("a file");
        let finished = scene.meshrun(&["run"]).run();
        println!("{finished}");
        let errors = finished.stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "{mode}\n{finished}");
        assert!(finished.stderr.contains("flow.yaml:"), "{mode}\n{finished}");
        before.assert_unchanged(&cluster.objects().snapshot(), &finished);
        finished.expect_code(3).expect_text(says);
    }
}

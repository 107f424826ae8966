//! The reports of a real run for programs: JSON lines and JUnit, whole and in agreement.

use std::collections::BTreeMap;

use meshrun_tests::{Finished, cluster, fixtures};
use quick_xml::{Reader, events::Event};
use serde_json::{Value, json};
use tempfile::TempDir;

const STEPS: [&str; 7] = ["base", "istiod", "gateway", "security", "telemetry", "kiali", "verify"];

#[test]
fn json_and_junit_tell_all_of_a_run_that_succeeds() {
    let cluster = cluster();
    let home = TempDir::new().expect("a temporary directory");
    let file = home.path().join("junit.xml");
    let finished = cluster
        .meshrun(["run", "--report", "json"])
        .arg("--junit")
        .arg(&file)
        .arg(fixtures::pipeline("prod.yaml"))
        .run()
        .expect_code(0);
    let events = finished.events();
    is_whole(&events, &finished);
    let last = events.last().expect("events");
    assert_eq!(
        (&last["outcome"], &last["tally"]["created"]),
        (&json!("succeeded"), &json!(54)),
        "{finished}"
    );

    let suites = suites(&fs_err::read_to_string(&file).expect("a JUnit report"));
    assert_eq!(suites.keys().map(String::as_str).collect::<Vec<_>>(), sorted(&STEPS));
    for (step, cases) in &suites {
        let told: Vec<&Value> = events.iter().filter(|event| event["step"] == *step).collect();
        let count = |kind: &str| told.iter().filter(|event| event["event"] == kind).count();
        // Every action and every check is a case.
        assert_eq!(cases.all, count("action-finished") + count("checked"), "{step}\n{finished}");
        let skipped = told.iter().filter(|event| event["check"]["status"] == "skipped").count();
        assert_eq!((cases.skipped, cases.failed), (skipped, 0), "{step}\n{finished}");
    }
}

#[test]
fn json_and_junit_tell_why_a_run_failed() {
    let cluster = cluster();
    let Some(lab) = cluster.lab() else { return };
    lab.control("POST", "/pods", &json!({ "image": "/pilot:", "behaviour": "crash" }));
    let home = TempDir::new().expect("a temporary directory");
    let file = home.path().join("junit.xml");
    let finished = cluster
        .meshrun(["run", "--report", "json", "--set=steps.istiod.timeout=6s"])
        .arg("--set=steps.istiod.retry={attempts: 1}")
        .arg("--junit")
        .arg(&file)
        .arg(fixtures::pipeline("prod.yaml"))
        .run()
        .expect_code(1);
    is_whole(&finished.events(), &finished);
    let suites = suites(&fs_err::read_to_string(&file).expect("a JUnit report"));
    assert_eq!(suites.keys().map(String::as_str).collect::<Vec<_>>(), sorted(&STEPS));
    assert_eq!((suites["base"].failed, suites["istiod"].failed), (0, 1), "{finished}");
    assert!(suites["istiod"].text.contains("CrashLoopBackOff"), "{}", suites["istiod"].text);
    for step in &STEPS[2..] {
        assert_eq!((suites[*step].all, suites[*step].skipped), (1, 1), "{step}\n{finished}");
    }
}

/// What starts ends: the run, each step, each action; times never go back.
fn is_whole(events: &[Value], finished: &Finished) {
    assert_eq!(events[0]["event"], "run-started", "{finished}");
    assert_eq!(events[events.len() - 1]["event"], "run-finished", "{finished}");
    let steps: Vec<&str> =
        events[0]["steps"].as_array().expect("steps").iter().filter_map(|step| step["id"].as_str()).collect();
    assert_eq!(steps, STEPS, "{finished}");
    let count = |kind: &str, step: &str| {
        events.iter().filter(|event| event["event"] == kind && event["step"] == step).count()
    };
    for step in STEPS {
        assert_eq!(count("step-finished", step), 1, "{step}\n{finished}");
        assert_eq!(count("action-started", step), count("action-finished", step), "{step}\n{finished}");
    }
    let times: Vec<f64> = events.iter().filter_map(|event| event["time"].as_f64()).collect();
    assert!(times.is_sorted(), "{finished}");
}

fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

/// What a test suite of a JUnit report says.
#[derive(Debug, Default)]
struct Suite {
    all: usize,
    failed: usize,
    skipped: usize,
    text: String,
}

/// Reads a JUnit report; that it is well-formed is checked by reading it to its end.
fn suites(text: &str) -> BTreeMap<String, Suite> {
    let mut reader = Reader::from_str(text);
    let mut suites: BTreeMap<String, Suite> = BTreeMap::new();
    let mut current = String::new();
    let mut depth = 0;
    loop {
        let event = reader.read_event().unwrap_or_else(|error| panic!("{error}\n{text}"));
        let (element, opens) = match &event {
            Event::Start(element) => (element, 1),
            Event::Empty(element) => (element, 0),
            Event::End(_) => {
                depth -= 1;
                continue;
            }
            Event::Eof => break,
            _ => continue,
        };
        depth += opens;
        let attribute = |name: &str| {
            let value =
                element.try_get_attribute(name).expect("well-formed").map(|found| found.unescape_value());
            value.map(|value| value.expect("well-formed").into_owned()).unwrap_or_default()
        };
        if element.name().as_ref() == b"testsuite" {
            current = attribute("name");
        }
        let suite = suites.entry(current.clone()).or_default();
        match element.name().as_ref() {
            b"testcase" => suite.all += 1,
            b"skipped" => suite.skipped += 1,
            b"failure" | b"error" => {
                suite.failed += 1;
                suite.text.push_str(&attribute("message"));
            }
            _ => {}
        }
    }
    assert_eq!(depth, 0, "{text}");
    suites.remove("");
    suites
}

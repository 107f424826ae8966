//! Code that goes wrong while it runs.

use std::{
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use meshrun::plugin::{Limits, PluginError};
use meshrun_protocol::LintRequest;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{Bench, MESHRUN, Recorder, built, place, request, said, text};

async fn check(mode: &str, expected: Result<&str, &str>) {
    let bench = Bench::new(&["hostile"]);
    let found = bench.plan(mode).await;
    assert_eq!(found.as_deref().map_err(String::as_str), expected, "{mode}");
}

fn panicked(message: &str, code: &str) -> String {
    let place = place("hostile.rs", code);
    format!(
        "plugin `hostile` panicked while it answered plan/v1: {message} at {place}\n\
         hint: this is a defect of the plugin: report it to its author"
    )
}

#[tokio::test]
async fn well_behaved_answers_arrive() {
    check("behave", Ok("well")).await;
    check("ask", Ok(r#"Some(Object {"kind": String("Namespace")})"#)).await;
}

#[tokio::test]
async fn panic_is_an_error_with_its_place() {
    check("panic", Err(&panicked("boom", "panic!(\"boom\")"))).await;
    check("panic-elsewhere", Ok("its thread panicked: true")).await;
}

#[tokio::test]
async fn payload_that_panics_is_never_dropped() {
    check("panic-twice", Err(&panicked("no message", "panic_any"))).await;
}

#[tokio::test]
async fn crash_is_an_error_with_the_last_output() {
    let hint = "hint: this is a defect of the plugin, nothing else is affected";
    let crashed = |what: &str| format!("plugin `hostile` {what} while it answered plan/v1\n{hint}");
    check("abort", Err(&crashed("crashed with SIGABRT"))).await;
    let printed = "; the last it printed:\n  about to write to address zero";
    check("segv", Err(&(crashed("crashed with SIGSEGV") + printed))).await;
    check("exit", Err(&crashed("ended its process with exit code 42"))).await;
}

#[tokio::test]
async fn stack_overflow_is_an_error() {
    let error = Bench::new(&["hostile"]).plan("overflow").await.expect_err("a crash");
    assert!(
        error.starts_with("plugin `hostile` crashed with SIGABRT while it answered plan/v1\n"),
        "{error}"
    );
    assert!(error.contains("has overflowed its stack"), "{error}");
}

#[tokio::test]
async fn endless_loop_ends_at_the_time_limit() {
    let timed_out = "plugin `hostile` did not answer plan/v1 within 1s\n\
                     hint: its process was killed, nothing else is affected; run it again";
    let bench = Bench::new(&["hostile"]);
    for mode in ["loop", "flood"] {
        let error = bench.plan_within(mode, Duration::from_secs(1)).await.expect_err("a timeout");
        assert_eq!(error, timed_out, "{mode}");
    }
}

#[tokio::test]
async fn cancelling_ends_it_at_once() {
    let bench = Bench::new(&["hostile"]);
    let plugin = bench.load("hostile").await.expect("it loads");
    let limits = Limits { timeout: Duration::from_secs(60), cancel: CancellationToken::new() };
    let cancel = limits.cancel.clone();
    let began = Instant::now();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel.cancel();
    });
    let error = plugin.start().plan(&request(json!({ "mode": "loop" })), &Recorder::default(), &limits).await;
    assert_eq!(
        text(&error.expect_err("it was cancelled")),
        "plugin `hostile` was stopped while it answered plan/v1"
    );
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn printing_and_reading_leave_the_protocol_alone() {
    check("print", Ok("printed")).await;
    check("read", Ok("Ok(0)")).await;
}

#[tokio::test]
async fn closing_the_pipes_is_an_error() {
    let error = Bench::new(&["hostile"]).plan("close").await.expect_err("nothing can be sent");
    assert!(error.starts_with("plugin `hostile` "), "{error}");
    assert!(error.contains(" while it answered plan/v1\n"), "{error}");
}

#[tokio::test]
async fn surroundings_are_bare() {
    let allowed = Bench::new(&["hostile"]).plan("look").await.expect("an answer");
    let names = ["[]", r#"["RUST_BACKTRACE"]"#, r#"["TMPDIR"]"#, r#"["RUST_BACKTRACE", "TMPDIR"]"#];
    assert!(names.iter().any(|names| allowed == format!("{names} in Ok(\"/\")")), "{allowed}");
}

#[tokio::test]
async fn processes_it_starts_end_with_it() {
    let child = Bench::new(&["hostile"]).plan("spawn").await.expect("a process");
    let gone =
        || fs_err::read_to_string(format!("/proc/{child}/stat")).map_or(true, |stat| stat.contains(") Z "));
    for _ in 0..100 {
        if gone() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("process {child} lives on");
}

/// As after `kill -9` of meshrun: nobody is left to kill the plugin.
#[test]
fn process_ends_with_its_pipe() {
    let mut process = Command::new(MESHRUN)
        .arg("__plugin-host")
        .arg(built("hostile"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let question =
        b"plan/v1\n{\"step\":\"x\",\"config\":{\"mode\":\"loop\"},\"cluster\":{\"kubernetesVersion\":\"\"}}";
    let length = u32::try_from(question.len() + 1).expect("it is short").to_le_bytes();
    let mut pipe = process.stdin.take().expect("a pipe");
    pipe.write_all(&[&length[..], &[4], &question[..]].concat()).expect("it listens");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(process.try_wait().expect("its state"), None, "it loops");
    drop(pipe);
    assert_eq!(process.wait().expect("its end").signal(), Some(9));
}

#[tokio::test]
async fn own_failure_keeps_its_hint() {
    check("fail", Err("plugin `hostile`: the mesh is not ready\nhint: wait")).await;
}

#[tokio::test]
async fn unreadable_configuration_is_a_failure_with_its_path() {
    let bench = Bench::new(&["hostile"]);
    let plugin = bench.load("hostile").await.expect("it loads");
    let request = request(json!({ "mode": "large", "bytes": "many" }));
    let error =
        plugin.start().plan(&request, &Recorder::default(), &Limits::default()).await.expect_err("no number");
    let failure = error.failure().expect("the plugin's own words");
    assert_eq!((failure.code.as_str(), failure.path.as_deref()), ("config", Some("")));
    assert_eq!(failure.message, "invalid type: string \"many\", expected usize");
}

#[tokio::test]
async fn answers_have_a_largest_size() {
    let bench = Bench::new(&["hostile"]);
    let plugin = bench.load("hostile").await.expect("it loads");
    let mut session = plugin.start();
    let (services, limits) = (Recorder::default(), Limits::default());
    let large =
        session.plan(&request(json!({ "mode": "large", "bytes": 10_000_000 })), &services, &limits).await;
    assert_eq!(said(&large.expect("ten megabytes are fine")).len(), 10_000_000);
    let larger =
        session.plan(&request(json!({ "mode": "large", "bytes": 80_000_000 })), &services, &limits).await;
    let error = text(&larger.expect_err("too large"));
    assert!(error.starts_with("plugin `hostile`: its answer is too large: 800000"), "{error}");
}

#[tokio::test]
async fn session_goes_on_after_panic_and_crash() {
    let bench = Bench::new(&["hostile"]);
    let plugin = bench.load("hostile").await.expect("it loads");
    let (mut session, services, limits) = (plugin.start(), Recorder::default(), Limits::default());
    for mode in ["panic", "behave", "abort", "behave"] {
        let answer = session.plan(&request(json!({ "mode": mode })), &services, &limits).await;
        match (mode, answer) {
            ("behave", Ok(plan)) => assert_eq!(said(&plan), "well"),
            ("panic", Err(PluginError::Failed { .. })) | ("abort", Err(PluginError::Crashed { .. })) => {}
            (mode, answer) => panic!("{mode}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn lint_cannot_look_at_the_cluster_but_at_everything_else() {
    let bench = Bench::new(&["hostile"]);
    let plugin = bench.load("hostile").await.expect("it loads");
    let request = LintRequest { step: "test".into(), config: json!({ "mode": "abort" }) };
    let lint = plugin.start().lint(&request, &Limits::default()).await.expect("an answer");
    assert_eq!(lint.diagnostics[0].message, "this will hurt");
}

#[tokio::test]
async fn in_process_panics_and_loops_are_errors_too() {
    let bench = Bench::new(&["hostile"]).in_process();
    assert_eq!(bench.plan("behave").await.as_deref(), Ok("well"));
    assert_eq!(bench.plan("ask").await.as_deref(), Ok(r#"Some(Object {"kind": String("Namespace")})"#));
    assert_eq!(bench.plan("panic").await, Err(panicked("boom", "panic!(\"boom\")")));
    let looping = bench.plan_within("loop", Duration::from_secs(1)).await.expect_err("a timeout");
    assert!(looping.starts_with("plugin `hostile` did not answer plan/v1 within 1s"), "{looping}");
}

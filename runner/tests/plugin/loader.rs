//! From a name to a described plugin: which file, which code, how fast.

use std::path::Path;

use futures::future::try_join_all;
use meshrun::plugin::{Limits, Wanted};
use meshrun_protocol::{CheckRequest, ClusterInfo, Diagnostic, LintRequest};
use serde_json::json;

use crate::support::{Bench, Recorder, echo, place, request, said};

#[tokio::test]
async fn describes_itself() {
    let bench = Bench::new(&["polite"]);
    let plugin = bench.load("polite").await.expect("it loads");
    let description = plugin.description();
    assert_eq!((plugin.name(), description.version.as_str()), ("polite", "0.3.1"));
    assert_eq!(description.summary, "Says thank you.");
    assert_eq!(description.config_schema["type"], "object");
    assert_eq!(plugin.path(), bench.path("polite"));
}

#[tokio::test]
async fn panic_in_describe_is_an_error() {
    let place = place("panics_in_describe.rs", "panic!");
    let expected = format!(
        "plugin `panics-in-describe` panicked while it described itself: no schema today at {place}\n\
         hint: this is a defect of the plugin: report it to its author"
    );
    let bench = Bench::new(&["panics_in_describe"]);
    assert_eq!(bench.refusal("panics-in-describe").await, expected);
    assert_eq!(bench.in_process().refusal("panics-in-describe").await, expected);
}

#[tokio::test]
async fn file_under_another_name_is_refused() {
    let bench = Bench::new(&["polite"]);
    fs_err::rename(bench.path("polite"), bench.path("rude")).expect("a new name");
    let expected = "plugin file `DIR/libmeshrun_rude.so` holds `polite`, not `rude`\n\
                    hint: write `uses: polite`, or give the file of the other plugin";
    assert_eq!(bench.refusal("rude").await, expected);

    let uses = "./libmeshrun_rude.so";
    let by_path = Wanted { uses, file: None, base: bench.directory.path(), pin: None };
    assert_eq!(bench.loader().load(by_path).await.expect("a path says which file").name(), "polite");
}

async fn answers_of_two(bench: &Bench) -> Vec<String> {
    let plugins = try_join_all([bench.load("hostile"), bench.load("polite")]).await.expect("both load");
    let mut answers = Vec::new();
    for (plugin, config) in plugins.iter().zip([json!({ "mode": "behave" }), json!({})]) {
        let plan = plugin.start().plan(&request(config), &Recorder::default(), &Limits::default()).await;
        answers.push(said(&plan.expect("an answer")));
    }
    answers
}

#[tokio::test]
async fn plugins_side_by_side_answer_for_themselves() {
    assert_eq!(answers_of_two(&Bench::new(&["hostile", "polite"])).await, ["well", "thank you"]);
    assert_eq!(answers_of_two(&Bench::new(&["hostile", "polite"]).in_process()).await, ["well", "thank you"]);
}

#[tokio::test]
async fn known_descriptions_need_no_process() {
    let bench = Bench::new(&["polite"]);
    bench.load("polite").await.expect("it loads");
    let loader = bench.loader().program("/does/not/exist");
    let wanted = Wanted { uses: "polite", file: None, base: Path::new("/"), pin: None };
    let plugin = loader.load(wanted).await.expect("the cache knows it");
    assert_eq!(plugin.description().summary, "Says thank you.");
}

#[tokio::test]
async fn damaged_cache_is_made_again() {
    let bench = Bench::new(&["polite"]);
    let plugin = bench.load("polite").await.expect("it loads");
    let cached = bench.directory.path().join("cache/plugins").join(format!("{}.json", plugin.digest().hex()));
    fs_err::write(&cached, "{").expect("damage");
    assert_eq!(bench.load("polite").await.expect("it loads again").name(), "polite");
    assert_ne!(fs_err::read_to_string(&cached).expect("a description"), "{");
}

#[tokio::test]
async fn newer_needs_are_said_before_the_run() {
    let bench = Bench::new(&["polite"]);
    let plugin = bench.load("polite").await.expect("it loads");
    let cached = bench.directory.path().join("cache/plugins").join(format!("{}.json", plugin.digest().hex()));
    let mut description = plugin.description().clone();
    description.services = vec!["cluster.get/v1".into(), "cluster.get/v2".into()];
    fs_err::write(&cached, json!(description).to_string()).expect("a description from the future");
    let expected = "plugin `polite` needs what this meshrun does not have: cluster.get/v2\n\
                    hint: upgrade meshrun, or use an older release of the plugin";
    assert_eq!(bench.refusal("polite").await, expected);
}

#[tokio::test]
async fn example_of_the_sdk_answers_every_question() {
    let bench = Bench::new(&[]);
    bench.put("echo", &fs_err::read(echo()).expect("the built example"));
    let plugin = bench.load("echo").await.expect("it loads");
    let (mut session, limits) = (plugin.start(), Limits::default());

    let lint = LintRequest { step: "echo".into(), config: json!({ "message": "" }) };
    let lint = session.lint(&lint, &limits).await.expect("findings");
    let expected = Diagnostic::warning("/message", "the message is empty").with_hint("say something");
    assert_eq!(lint.diagnostics, [expected]);

    let config = json!({ "message": "hello" });
    let plan = session.plan(&request(config.clone()), &Recorder::default(), &limits).await.expect("a plan");
    assert_eq!(plan.actions.len(), 1);

    let check = CheckRequest { step: "echo".into(), config, cluster: ClusterInfo::default() };
    let check = session.check(&check, &Recorder::default(), &limits).await.expect("a check");
    assert_eq!(check.checks[0].evidence, "there is no ConfigMap default/echo");
}

#[tokio::test]
async fn replacing_the_file_leaves_the_verified_code_running() {
    let bench = Bench::new(&["polite"]);
    let plugin = bench.load("polite").await.expect("it loads");
    bench.put("polite", b"something else");
    let plan = plugin.start().plan(&request(json!({})), &Recorder::default(), &Limits::default()).await;
    assert_eq!(said(&plan.expect("an answer")), "thank you");
}

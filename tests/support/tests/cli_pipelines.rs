//! The shipped pipelines without a cluster: validated, rehearsed with stand-in and with real charts, drawn, vendored.

use std::collections::BTreeMap;

use meshrun_tests::sandbox::{Outcome, Sandbox, check, real_charts, shipped};
use serde_json::Value;

#[test]
fn shipped_pipelines_are_valid() {
    let sandbox = Sandbox::with_pipelines();
    let said: Vec<_> = shipped()
        .iter()
        .map(|name| sandbox.run(&format!("validate pipelines/{name}.yaml")).success().to_string())
        .collect();
    check("pipelines_validate", &said.join("\n"));
}

/// A rehearsal, told step by step: steps that run side by side end in any order.
fn story(rehearsal: &Outcome) -> String {
    let mut steps: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in rehearsal.stdout.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let told = match text("/event") {
            "action-started" => text("/title").to_owned(),
            "diagnosed" => format!("{}: {}", text("/diagnostic/severity"), text("/diagnostic/message")),
            "checked" => format!("check {}: {}", text("/check/status"), text("/check/title")),
            "step-finished" => {
                let objects = |what: &str| event["tally"][what].as_u64().unwrap_or_default();
                let (created, updated) = (objects("created"), objects("updated"));
                format!("{}: {created} created, {updated} updated", text("/outcome/outcome"))
            }
            _ => continue,
        };
        let lines = steps.entry(text("/step").to_owned()).or_default();
        // What was found while planning is found again when the step runs.
        if !lines.contains(&told) {
            lines.push(told);
        }
    }
    let of = |(step, lines): (&String, &Vec<String>)| format!("{step}\n  {}\n", lines.join("\n  "));
    steps.iter().map(of).collect()
}

#[test]
fn shipped_pipelines_are_rehearsed() {
    let stand_in = Sandbox::with_pipelines();
    for name in shipped() {
        let rehearsal = stand_in.run(&format!("rehearse pipelines/{name}.yaml --report json")).success();
        check(&format!("pipelines_rehearse_{name}"), &story(&rehearsal));
    }
}

/// The stand-in charts are worth what they have in common with the real ones.
#[test]
fn real_charts_make_the_same_rehearsal_as_their_stand_ins() {
    let Some(charts) = real_charts() else { return };
    let (stand_in, real) =
        (Sandbox::with_pipelines(), Sandbox::with_pipelines().env("MESHRUN_CHARTS", &charts));
    for name in shipped() {
        let rehearse = format!("rehearse pipelines/{name}.yaml --report json");
        let real = story(&real.run(&rehearse).success());
        // Kiali's chart looks for what the rehearsal does not have; its stand-in has no such template.
        let real: String = real
            .lines()
            .filter(|line| !line.contains(" looks up objects "))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(real, story(&stand_in.run(&rehearse).success()), "{name}");
    }
}

#[test]
fn a_rehearsal_is_told_in_lines_where_no_terminal_is() {
    let sandbox = Sandbox::with_pipelines();
    let outcome = sandbox.run("rehearse pipelines/minimal.yaml --junit report.xml").success();
    check("pipelines_plain_report", &outcome.to_string());
    assert!(!outcome.stdout.contains('\u{1b}'), "{outcome}");
    let junit = fs_err::read_to_string(sandbox.path("report.xml")).expect("a report");
    assert!(junit.contains("<testsuite"), "{junit}");
}

#[test]
fn graphs_are_drawn_in_three_forms() {
    let sandbox = Sandbox::with_pipelines();
    check(
        "graph",
        &sandbox.session(&[
            "graph pipelines/prod.yaml",
            "graph pipelines/prod.yaml -o dot",
            "graph pipelines/prod.yaml -o mermaid",
        ]),
    );
}

#[test]
fn plugins_are_listed_and_shown() {
    check("plugins", &Sandbox::empty().session(&["plugins list", "plugins inspect istiod"]));
    let json = Sandbox::empty().run("plugins inspect istiod --json").success();
    let description: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(description["name"], "istiod");
    assert!(jsonschema::meta::is_valid(&description["config_schema"]), "{json}");
}

#[test]
fn the_schema_is_one_and_takes_the_shipped_pipelines() {
    let sandbox = Sandbox::with_pipelines();
    let schema: Value = serde_json::from_str(&sandbox.run("schema").success().stdout).expect("JSON");
    jsonschema::meta::validate(&schema).expect("a JSON Schema");
    let validator = jsonschema::validator_for(&schema).expect("a schema that compiles");
    for name in shipped() {
        let text =
            fs_err::read_to_string(sandbox.path(&format!("pipelines/{name}.yaml"))).expect("a pipeline");
        let pipeline: Value = serde_saphyr::from_str(&text).expect("YAML");
        let errors: Vec<_> = validator
            .iter_errors(&pipeline)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
    for wrong in [
        "name: a\nsteps:\n- { id: base, uses: istio-base, with: { verion: 1.30.3 } }",
        "steps: 3",
        "stepps: []",
    ] {
        let pipeline: Value = serde_saphyr::from_str(wrong).expect("YAML");
        assert!(!validator.is_valid(&pipeline), "{wrong}");
    }
}

#[test]
fn vendored_charts_are_all_that_a_run_needs() {
    let sandbox = Sandbox::with_pipelines();
    let vendored = sandbox.run("vendor pipelines/prod.yaml --to mirror").success();
    // From here on only the mirror and the lock file are there.
    let sandbox = sandbox.env("MESHRUN_CHARTS", "");
    let offline = sandbox.run("rehearse pipelines/prod.yaml --charts mirror").success();
    assert!(offline.stdout.contains("Done in"), "{offline}");

    // Another chart of the same name and version takes its place.
    fs_err::remove_file(sandbox.path("mirror/istiod-1.19.3.tgz")).expect("the vendored chart");
    let sandbox =
        sandbox.file("mirror/istiod/Chart.yaml", "apiVersion: v2\nname: istiod\nversion: 1.19.3\n").file(
            "mirror/istiod/templates/all.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: mine }\n",
        );
    let tampered = sandbox.run("rehearse pipelines/prod.yaml --charts mirror");
    fs_err::remove_dir_all(sandbox.path("mirror/istiod")).expect("the other chart");
    fs_err::write(sandbox.path("mirror/istiod-1.19.3.tgz"), "half a chart").expect("a file");
    let broken = sandbox.run("rehearse pipelines/prod.yaml --charts mirror");
    check("vendor", &format!("{vendored}\n{tampered}\n{broken}"));
}

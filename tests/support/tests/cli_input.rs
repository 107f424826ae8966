//! Bad pipelines and bad values: one message with place and hint, exit code 3, before anything is asked of a cluster.

use meshrun_tests::sandbox::{Sandbox, check, steps};

/// What `meshrun validate` says of a pipeline.
fn refusal(name: &str, pipeline: &str) {
    let sandbox = Sandbox::empty().file("mesh.yaml", pipeline);
    let outcome = sandbox.run("validate mesh.yaml");
    assert_eq!(outcome.code, 3, "{outcome}");
    check(name, &outcome.to_string());
}

#[test]
fn yaml_that_does_not_parse() {
    refusal("input_yaml_syntax", "name: test\nsteps:\n  - id: base\n    uses: istio-base\n   with: {}\n");
}

#[test]
fn key_that_is_not_known() {
    refusal(
        "input_unknown_key",
        "name: test\nsteps:\n  - id: base\n    uses: istio-base\n    need: [crds]\n",
    );
}

#[test]
fn value_of_the_wrong_type() {
    refusal(
        "input_wrong_type",
        "name: test\nsteps:\n  - id: base\n    uses: istio-base\n    timeout: soon\n    retry: 3\n",
    );
}

#[test]
fn steps_that_need_each_other() {
    refusal("input_cycle", &steps(&["a istio-base c", "b istiod a", "c gateway b"]));
}

#[test]
fn need_that_is_no_step() {
    refusal("input_missing_need", &steps(&["base istio-base", "istiod istiod bsae"]));
}

#[test]
fn plugin_that_is_not_there() {
    refusal("input_unknown_plugin", &steps(&["base istio-base", "kiali kaili base"]));
}

#[test]
fn expressions_that_are_wrong() {
    let with = |expression: &str| {
        format!(
            "name: test\nvars: {{ istio: 1.30.3 }}\nsteps:\n  - id: base\n    uses: istio-base\n    with:\n      version: ${{{{ {expression} }}}}\n"
        )
    };
    let said: Vec<String> = ["vars.istoi", "vars.istio +", "vars.istio + 1", "steps.istiod.outputs.version"]
        .iter()
        .map(|expression| {
            Sandbox::empty().file("mesh.yaml", &with(expression)).run("validate mesh.yaml").to_string()
        })
        .collect();
    check("input_expressions", &said.join("\n"));
}

#[test]
fn number_that_is_meant_as_text() {
    refusal(
        "input_number_for_text",
        "name: 2024\nsteps:\n  - id: base\n    uses: istio-base\n    with: { version: 1.20 }\n",
    );
}

#[test]
fn configuration_that_the_plugin_does_not_know() {
    let with = "version: 1.30.3\n      nampespace: istio-system\n      autoscale: { min: two }\n";
    refusal(
        "input_bad_config",
        &format!(
            "name: test\nsteps:\n  - id: base\n    uses: istio-base\n    with: {{ version: 1.30.3 }}\n  - id: istiod\n    uses: istiod\n    needs: [base]\n    with:\n      {with}"
        ),
    );
}

#[test]
fn configuration_that_the_plugin_refuses() {
    let with = "version: 1.30.3\n      replicas: 2\n      autoscale: { min: 5, max: 2 }\n";
    refusal(
        "input_lint_error",
        &format!(
            "name: test\nsteps:\n  - id: base\n    uses: istio-base\n    with: {{ version: 1.30.3 }}\n  - id: istiod\n    uses: istiod\n    needs: [base]\n    with:\n      {with}"
        ),
    );
}

#[test]
fn capability_that_no_step_before_provides() {
    refusal(
        "input_unmet_capability",
        "name: test\nsteps:\n  - id: kiali\n    uses: kiali\n    with: { version: 2.29.0 }\n",
    );
}

#[test]
fn values_from_the_command_line() {
    let sandbox = Sandbox::with_pipelines();
    check(
        "input_command_line",
        &sandbox.session(&[
            "validate pipelines/demo.yaml --var istoi=1.30.3",
            "validate pipelines/demo.yaml --var istio",
            "validate pipelines/demo.yaml --var dashboard=[",
            "validate pipelines/demo.yaml --set steps.kaili.with.version=2.29.0",
            "validate pipelines/demo.yaml --set steps.kiali.wiht.version=2.29.0",
            "validate pipelines/demo.yaml --set steps.kiali",
            "validate pipelines/demo.yaml --set steps.kiali.with.version=1",
            "validate pipelines/demo.yaml --matrix istio=1.30.3",
            "plan pipelines/demo.yaml --only gatewya",
            "plan pipelines/demo.yaml --from gatewya",
        ]),
    );
}

#[test]
fn files_that_are_no_pipelines() {
    let sandbox =
        Sandbox::empty().file("empty.yaml", "").file("list.yaml", "- a\n- b\n").file("dir.yaml/x", "");
    sandbox.write("binary.yaml", &[0x7f, b'E', b'L', b'F', 0xff, 0]);
    check(
        "input_files",
        &sandbox.session(&[
            "validate prod.yaml",
            "validate empty.yaml",
            "validate list.yaml",
            "validate dir.yaml",
            "validate binary.yaml",
        ]),
    );
}

#[test]
fn lock_file_that_is_damaged() {
    let sandbox = Sandbox::empty()
        .file("mesh.yaml", &steps(&["base istio-base"]))
        .file("meshrun.lock", "{ \"charts\": [");
    check("input_lock_file", &sandbox.session(&["validate mesh.yaml"]));
}

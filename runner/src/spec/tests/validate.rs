//! `with:` against a plugin's schema: what people read, and how long it takes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use super::pipeline;
use crate::spec::{evaluate, validate_outputs, validate_with};

/// A configuration as plugins declare them.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Config {
    /// Exact version.
    pub(super) version: String,
    namespace: Option<String>,
    #[schemars(range(max = 20))]
    replicas: Option<u32>,
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    ports: Vec<u16>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    kind: Option<Kind>,
    #[serde(default)]
    resources: Resources,
    route: Option<Route>,
    #[serde(default)]
    values: Value,
    #[schemars(length(min = 1))]
    host: Option<String>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Kind {
    /// Reachable from outside.
    LoadBalancer,
    /// Reachable on every node.
    NodePort,
}

#[derive(JsonSchema, Default)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Resources {
    cpu: String,
    memory: Option<String>,
}

#[derive(JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
enum Route {
    Http { path: String, port: u16 },
    Tcp { port: u16 },
}

pub(super) fn config_schema() -> Value {
    schemars::schema_for!(Config).to_value()
}

fn check(with: &str) -> String {
    let text = format!("vars: {{ n: 3 }}\nsteps:\n  - id: kiali\n    uses: kiali\n{with}");
    let pipeline = pipeline(&text);
    let step = &pipeline.steps[0];
    let evaluated = evaluate(step, &pipeline.scope()).unwrap_or_else(|error| panic!("{}", error.render()));
    let findings = validate_with(step, &evaluated.with, &config_schema());
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")
}

#[test]
fn says_nothing_about_what_is_right() {
    assert_eq!(
        check(
            "    with:
      version: 1.19.3
      namespace: null
      replicas: ${{ vars.n }}
      strict: true
      ports: [80]
      labels: { a: b }
      kind: node-port
      resources: { cpu: 100m }
      route: { type: http, path: /, port: 80 }
      values: { anything: [goes] }
"
        ),
        ""
    );
}

#[test]
fn says_what_is_wrong() {
    insta::assert_snapshot!(check(
        "    with:
      version: 1.19
      namspace: x
      namespace: [a]
      replicas: two
      strict: yes
      ports: [80, 70000, \"443\"]
      labels: { app: true, ok: x }
      kind: node-prt
      resources: { memory: 1Gi, cpus: 1 }
      route: { type: http, path: 3 }
      host: \"\"
"
    ));
}

#[test]
fn says_what_is_missing() {
    insta::assert_snapshot!(check(""));
}

#[test]
fn reads_tagged_forms() {
    let routes = ["{ type: udp, port: 1 }", "{ port: 1 }", "http", "{ type: tcp, port: 1, path: / }"];
    let report: Vec<_> = routes
        .iter()
        .map(|route| check(&format!("    with:\n      version: 1.19.3\n      route: {route}\n")))
        .collect();
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn expressions_stand_for_any_value() {
    let text = "steps:
  - { id: a, uses: x }
  - id: kiali
    uses: kiali
    needs: [a]
    with:
      version: ${{ steps.a.outputs.version }}
      replicas: ${{ steps.a.outputs.replicas }}
      strict: ${{ steps.a.outputs.strict }}
      ports: [\"${{ steps.a.outputs.port }}\"]
      kind: ${{ steps.a.outputs.kind }}
      resources: ${{ steps.a.outputs.resources }}
      route: { type: \"${{ steps.a.outputs.type }}\" }
      unknown: ${{ steps.a.outputs.x }}
";
    let pipeline = pipeline(text);
    let step = &pipeline.steps[1];
    let findings = validate_with(step, &step.with, &config_schema());
    let messages: Vec<_> = findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(messages, ["unknown key `unknown`"]);
}

#[test]
fn a_broken_schema_is_the_plugins_fault() {
    let pipeline = pipeline("steps:\n  - id: kiali\n    uses: kiali\n");
    let broken = serde_json::json!({"properties": {"a": {"type": "strin"}}});
    let findings = validate_with(&pipeline.steps[0], &serde_json::json!({}), &broken);
    insta::assert_snapshot!(findings[0]);
}

#[test]
fn a_number_from_a_var_is_to_be_quoted_where_it_is_set() {
    let text = "vars: { istio: 1.19 }\nsteps:\n  - id: a\n    uses: x\n    with: { version: \"${{ vars.istio }}\" }\n";
    let pipeline = pipeline(text);
    let evaluated = evaluate(&pipeline.steps[0], &pipeline.scope()).expect("nothing is wrong");
    insta::assert_snapshot!(validate_with(&pipeline.steps[0], &evaluated.with, &config_schema())[0]);
}

#[test]
fn an_output_that_no_plugin_gives_is_named_with_the_nearest_that_it_does() {
    let text = "steps:
  - { id: base, uses: istio-base }
  - { id: quiet, uses: verify }
  - id: kiali
    uses: kiali
    needs: [base, quiet]
    if: ${{ steps.base.outputs.namspace == 'mesh' }}
    with:
      fine: ${{ steps.base.outputs.namespace }}
      asked: \"${{ has(steps.base.outputs.later) ? steps.base.outputs.later : 1 }}\"
      wrong: http://${{ steps.base.outputs.versoin }}/
      none: ${{ steps.quiet.outputs.url }}
";
    let pipeline = pipeline(text);
    let outputs = |step: &crate::ids::StepId| match step.as_str() {
        "base" => Some(vec!["namespace", "version"]),
        "quiet" => Some(Vec::new()),
        _ => None,
    };
    let findings: Vec<String> =
        validate_outputs(&pipeline, outputs).iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(findings.join("\n\n"));
}

//! Expressions in `with:` and `if:`, before, during and after a run.

use serde_json::{Value, json};

use super::{Overrides, pipeline, with};
use crate::{
    ids::StepId,
    spec::{Outcome, Scope, StepResult, condition, evaluate},
};

/// Evaluates `a: EXPRESSION` with some vars.
fn value(expression: &str) -> Value {
    let text = format!(
        "vars: {{ istio: 1.19.3, n: 2, ratio: 0.5, on: true, hosts: [a, b], labels: {{ team: mesh, app: x }} }}
steps:
  - id: base
    uses: x
    with:
      a: {expression}
"
    );
    let pipeline = pipeline(&text);
    let evaluated = evaluate(&pipeline.steps[0], &pipeline.scope());
    evaluated.unwrap_or_else(|error| panic!("{}", error.render())).with["a"].take()
}

#[test]
fn a_whole_expression_keeps_its_type() {
    assert_eq!(value("${{ vars.n + 1 }}"), json!(3));
    assert_eq!(value("${{ vars.ratio }}"), json!(0.5));
    assert_eq!(value("${{ vars.on }}"), json!(true));
    assert_eq!(value("${{ vars.hosts }}"), json!(["a", "b"]));
    assert_eq!(value("${{ vars.labels }}"), json!({"app": "x", "team": "mesh"}));
    assert_eq!(value("\"${{ vars.on ? 'yes' : 'no' }}\""), json!("yes"));
    assert_eq!(value("${{ vars.hosts.map(host, host + '.local') }}"), json!(["a.local", "b.local"]));
    assert_eq!(value("\"${{ {'a': {'b': vars.n}} }}\""), json!({"a": {"b": 2}}));
}

#[test]
fn an_expression_inside_of_a_text_becomes_text() {
    assert_eq!(value("v${{ vars.istio }}-${{ vars.n }}-${{ vars.on }}"), json!("v1.19.3-2-true"));
    assert_eq!(value("[\"${{ vars.n }}\", { b: \"${{ vars.n }}x\" }]"), json!([2, {"b": "2x"}]));
}

#[test]
fn functions_of_the_string_library_are_there() {
    assert_eq!(value("${{ vars.istio.replace('.', '-') }}"), json!("1-19-3"));
    assert_eq!(value("${{ vars.istio.split('.')[1] }}"), json!("19"));
    assert_eq!(value("${{ vars.hosts.join(',') }}"), json!("a,b"));
    assert_eq!(value("${{ 'ISTIO'.lowerAscii() }}"), json!("istio"));
    assert_eq!(value("${{ size(vars.hosts) }}"), json!(2));
    assert_eq!(value("\"${{ vars.istio.matches('^1[.]') }}\""), json!(true));
}

#[test]
fn the_environment_can_be_asked_for() {
    let text = "vars: { region: \"${{ has(env.REGION) ? env.REGION : 'eu-west-1' }}\" }
steps: [{ id: a, uses: x }]
";
    assert_eq!(pipeline(text).vars["region"], "eu-west-1");
    let env = [("REGION".to_owned(), "us-east-1".to_owned())].into();
    assert_eq!(with(text, &Overrides { env, ..Overrides::default() }).vars["region"], "us-east-1");
}

const OUTPUTS: &str = "steps:
  - { id: gateway, uses: x }
  - { id: my-istiod, uses: x }
  - id: verify
    uses: x
    needs: [gateway, my-istiod]
    with:
      url: http://${{ steps.gateway.outputs.address }}/
      revision: ${{ steps['my-istiod'].outputs.revision }}
      outcome: ${{ steps.gateway.outcome }}
";

fn result(outcome: Option<Outcome>, outputs: Value) -> StepResult {
    let Value::Object(outputs) = outputs else { panic!("outputs are a map") };
    StepResult { outcome, outputs, ..StepResult::default() }
}

fn scope(steps: impl IntoIterator<Item = (&'static str, StepResult)>) -> Scope {
    let steps = steps.into_iter().map(|(id, result)| (StepId::new(id), result)).collect();
    Scope { steps, ..Scope::default() }
}

#[test]
fn outputs_that_are_not_known_yet_keep_their_expression() {
    let pipeline = pipeline(OUTPUTS);
    let verify = pipeline.step("verify").expect("a step");

    let nothing = evaluate(verify, &pipeline.scope()).expect("nothing is wrong");
    assert_eq!(nothing.with, verify.with);
    assert_eq!(nothing.unknown, [StepId::new("gateway"), StepId::new("my-istiod")]);

    let planned = scope([("my-istiod", result(None, json!({"revision": "canary"})))]);
    let evaluated = evaluate(verify, &planned).expect("nothing is wrong");
    assert_eq!(evaluated.with["revision"], "canary");
    assert_eq!(evaluated.with["url"], "http://${{ steps.gateway.outputs.address }}/");
    assert_eq!(evaluated.unknown, [StepId::new("gateway")]);

    let done = scope([
        ("gateway", result(Some(Outcome::Success), json!({"address": "203.0.113.7"}))),
        ("my-istiod", result(Some(Outcome::Success), json!({"revision": "canary"}))),
    ]);
    let evaluated = evaluate(verify, &done).expect("nothing is wrong");
    assert_eq!(
        evaluated.with,
        json!({"url": "http://203.0.113.7/", "revision": "canary", "outcome": "success"})
    );
    assert_eq!(evaluated.unknown, []);
}

#[test]
fn an_output_that_a_finished_step_does_not_have_is_an_error() {
    let pipeline = pipeline(OUTPUTS);
    let verify = pipeline.step("verify").expect("a step");
    let done = scope([
        ("gateway", result(Some(Outcome::Success), json!({"adress": "203.0.113.7"}))),
        ("my-istiod", result(Some(Outcome::Skipped), json!({}))),
    ]);
    insta::assert_snapshot!(evaluate(verify, &done).expect_err("an output is missing").render());
}

/// The condition of the last step, which needs `base`.
fn holds(condition_line: &str, base: Option<Outcome>) -> Option<bool> {
    let text = format!(
        "vars: {{ kiali: false }}
steps:
  - {{ id: base, uses: x }}
  - {{ id: middle, uses: x, needs: [base] }}
  - id: last
    uses: x
    needs: [middle]
    {condition_line}
"
    );
    let pipeline = pipeline(&text);
    let mut scope = pipeline.scope();
    scope.steps.extend(base.map(|outcome| (StepId::new("base"), result(Some(outcome), json!({})))));
    condition(pipeline.step("last").expect("a step"), &scope)
        .unwrap_or_else(|error| panic!("{}", error.render()))
}

#[test]
fn a_step_runs_if_nothing_before_it_failed() {
    for line in ["", "if: true", "if: success()", "if: ${{ success() }}"] {
        assert_eq!(holds(line, None), Some(true), "{line}");
        assert_eq!(holds(line, Some(Outcome::Success)), Some(true), "{line}");
        assert_eq!(holds(line, Some(Outcome::Skipped)), Some(true), "{line}");
        assert_eq!(holds(line, Some(Outcome::Failure)), Some(false), "{line}");
        assert_eq!(holds(line, Some(Outcome::Cancelled)), Some(false), "{line}");
    }
    assert_eq!(holds("if: ${{ vars.kiali }}", None), Some(false));
    assert_eq!(holds("if: \"!vars.kiali\"", None), Some(true));
}

#[test]
fn status_functions_ask_for_failed_steps() {
    assert_eq!(holds("if: failure()", None), Some(false));
    assert_eq!(holds("if: failure()", Some(Outcome::Failure)), Some(true));
    assert_eq!(holds("if: always()", Some(Outcome::Failure)), Some(true));
    assert_eq!(holds("if: always() && vars.kiali", Some(Outcome::Failure)), Some(false));
}

#[test]
fn a_condition_on_a_step_that_has_not_run_is_not_known() {
    let line = "if: steps.base.outcome == 'success'";
    assert_eq!(holds(line, None), None);
    assert_eq!(holds(line, Some(Outcome::Success)), Some(true));
}

#[test]
fn a_tolerated_failure_counts_as_success() {
    let pipeline = pipeline("steps: [{ id: a, uses: x }, { id: b, uses: x, needs: [a] }]\n");
    let failed = StepResult { outcome: Some(Outcome::Failure), tolerated: true, ..StepResult::default() };
    assert_eq!(condition(&pipeline.steps[1], &scope([("a", failed)])), Ok(Some(true)));
}

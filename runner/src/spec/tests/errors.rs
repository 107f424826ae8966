//! What people read when a pipeline is wrong: every kind of error as a snapshot.

use insta::assert_snapshot;

use super::{Overrides, matrix, refusal, sets, vars};
use crate::spec::load;

fn check(text: &str) -> String {
    refusal(text, &Overrides::default())
}

/// A pipeline whose only step has this line in it.
fn step(line: &str) -> String {
    check(&format!("steps:\n  - id: base\n    uses: istio-base\n    {line}\n"))
}

#[test]
fn unknown_keys() {
    assert_snapshot!(check(
        "name: prod
concurency: 4
steps:
  - id: base
    uses: istio-base
  - id: istiod
    uses: istiod
    need: [base]
    retry: { attempts: 3, maxBackoff: 1m }
    colour: red
state: { ns: x }
target: { context: a, cluster: b }
plugins: { kiali: { path: a.so, sha: x } }
"
    ));
}

#[test]
fn wrong_types() {
    assert_snapshot!(check(
        "name: 12
concurrency: many
charts: [a]
steps:
  - id: base
    uses: 3
  - id: istiod
    uses: istiod
    needs: { base: true }
    timeout: 600
    continue-on-error: \"yes\"
    isolation: procces
    retry: { attempts: 0, backoff: soon }
    with: [1]
    if: 3
"
    ));
}

#[test]
fn missing_keys_and_bad_names() {
    assert_snapshot!(check(
        "name: Prod Cluster
target: {}
plugins: { kiali: { sha256: abc } }
steps:
  - uses: istio-base
  - id: istiod
  - id: Kiali
    uses: kiali
  - just text
"
    ));
}

#[test]
fn steps_that_do_not_fit_together() {
    assert_snapshot!(check(
        "steps:
  - id: base
    uses: istio-base
  - id: istiod
    uses: istiod
    needs: [bsae, nothing]
  - id: base
    uses: istio-base
"
    ));
}

#[test]
fn cycles() {
    assert_snapshot!(check(
        "steps:
  - { id: base, uses: x }
  - { id: a, uses: x, needs: [base, c] }
  - { id: b, uses: x, needs: [a] }
  - { id: c, uses: x, needs: [b] }
"
    ));
}

#[test]
fn a_step_that_needs_itself() {
    assert_snapshot!(check("steps:\n  - id: a\n    uses: x\n    needs: a\n"));
}

#[test]
fn yaml_syntax() {
    let broken = [
        ("tab", "name: prod\nsteps:\n\t- id: base\n"),
        ("tab after spaces", "steps:\n  - id: base\n  \tuses: x\n"),
        ("unclosed quote", "name: \"prod\nsteps: []\n"),
        ("unclosed list", "steps: [a, b\nname: x\n"),
        ("colon in text", "name: a: b\n"),
        ("bad indentation", "steps:\n  - id: a\n   uses: b\n"),
        ("percent", "name: %x\n"),
        ("template braces", "name: {{ .Values.x }}\n"),
        ("unquoted expression", "vars: { a: ${{ env.A }} }\n"),
        ("two documents", "name: a\n---\nname: b\n"),
        ("unknown alias", "name: *a\n"),
        ("own tag", "name: !secret x\n"),
        ("infinity", "concurrency: .inf\n"),
        ("map as key", "? {a: b}\n: c\n"),
        ("no map", "- a\n- b\n"),
        ("empty", ""),
        ("only a comment", "# nothing\n"),
    ];
    let report: Vec<_> = broken.iter().map(|(what, text)| format!("## {what}\n{}\n", check(text))).collect();
    assert_snapshot!(report.join("\n"));
}

#[test]
fn duplicate_and_merge_keys() {
    assert_snapshot!(check(
        "x-common: &common { timeout: 5m }
name: prod
name: test
steps:
  - id: base
    uses: istio-base
    <<: *common
    with: { version: 1, version: 2 }
"
    ));
}

#[test]
fn aliases_that_explode() {
    let mut text = String::from("x-a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..8 {
        let before = level - 1;
        let items = vec![format!("*a{before}"); 10].join(", ");
        text.push_str(&format!("x-a{level}: &a{level} [{items}]\n"));
    }
    assert_snapshot!(check(&text));
}

#[test]
fn expressions_that_do_not_parse() {
    let lines = [
        "with: { a: \"${{ vars. }}\" }",
        "with: { a: \"${{ vars.x\" }",
        "with: { a: \"v${{ 1 + }}\" }",
        "with: { a: \"${{ }}\" }",
        "with: { a: \"${{ vars.x y }}\" }",
        "with: { a: \"${{ a # b }}\" }",
        "with: { a: \"${{ (1 }}\" }",
        "with: { a: \"${{ 'x }}\" }",
        "if: ${{ true }} && ${{ false }}",
        "if: a &&",
        "with: { \"${{ vars.x }}\": 1 }",
    ];
    let report: Vec<_> = lines.iter().map(|line| step(line)).collect();
    assert_snapshot!(report.join("\n\n"));
}

#[test]
fn expressions_that_refer_to_nothing() {
    assert_snapshot!(check(
        "vars: { istio: 1.19.3, revision: \"${{ env.REVISION }}\", other: \"${{ vars.istio }}\" }
steps:
  - id: base
    uses: istio-base
    with:
      version: ${{ vars.isto }}
      region: ${{ env.REGION }}
      cluster: ${{ matrix.cluster }}
      github: v${{ github.ref }}
      name: ${{ lower(vars.istio) }}
      ok: ${{ success() }}
      list: a ${{ [1, 2] }}
      block: |
        first
        second ${{ vars.nothing }}
  - id: my-istiod
    uses: istiod
    with:
      crds: ${{ steps.base.outputs.crds }}
  - id: kiali
    uses: kiali
    needs: [my-istiod]
    with:
      url: ${{ steps.my-istiod.outputs.url }}
      own: ${{ steps.kiali.outputs.url }}
      none: ${{ steps.istio.outputs.url }}
      result: ${{ steps['my-istiod'].result }}
      steps: ${{ steps }}
    if: ${{ sucess() && vars.istio }}
target: { context: \"${{ steps.base.outputs.x }}\" }
"
    ));
}

#[test]
fn expressions_that_cannot_be_evaluated() {
    assert_snapshot!(check(
        "vars: { istio: 1.19.3, hosts: [a], none: null }
steps:
  - id: base
    uses: istio-base
    with:
      sum: ${{ vars.istio + 1 }}
      host: ${{ vars.hosts[3] }}
      key: ${{ vars.hosts.a }}
      zero: ${{ 1 / 0 }}
      number: ${{ int(vars.istio) }}
      nothing: ${{ vars.none.x }}
    if: ${{ vars.istio }}
"
    ));
}

#[test]
fn vars_from_the_command_line() {
    let text = "vars: { istio: 1.19.3 }\nsteps: [{ id: a, uses: x }]\n";
    let report: Vec<_> = ["isto=1", "istio", "istio=[1", "=x"]
        .iter()
        .map(|argument| refusal(text, &vars(&[argument])))
        .collect();
    assert_snapshot!(report.join("\n\n"));
}

#[test]
fn values_set_from_the_command_line() {
    let text = "steps:\n  - id: kiali\n    uses: kiali\n    with: { hosts: [a], replicas: 1 }\n";
    let report: Vec<_> = [
        "steps.kali.with.x=1",
        "steps.kiali.timout=1m",
        "steps.kiali.timeout=soon",
        "steps.kiali.with.replicas.x=1",
        "steps.kiali.with.hosts[7]=x",
        "steps.kiali.with.hosts.x=x",
        "steps.kiali=x",
        "steps.kiali.with.x",
        "steps.kiali.with.x={",
        "steps.kiali.with.x=${{ vars.y }}",
        "name=Not A Name",
        "nme=x",
    ]
    .iter()
    .map(|argument| refusal(text, &sets(&[argument])))
    .collect();
    assert_snapshot!(report.join("\n\n"));
}

#[test]
fn matrix_choices() {
    let text = "matrix: { istio: [1.19.3, 1.20.0], cloud: [eks, gke] }
steps: [{ id: a, uses: x }]
";
    let report: Vec<_> = [&[][..], &["istio=1.19.3"], &["isto=1"], &["istio=1.19.4"], &["istio"]]
        .iter()
        .map(|arguments| refusal(text, &matrix(arguments)))
        .chain([check("matrix: { istio: 1.19.3 }\nsteps: [{ id: a, uses: x }]\n")])
        .collect();
    assert_snapshot!(report.join("\n\n"));
}

#[test]
fn files_that_cannot_be_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file in the temporary directory");
        path
    };
    let missing = write("missing.yaml", "include: [nothing.yaml]\nsteps: []\n");
    let cycle = write("cycle.yaml", "include:\n  - other.yaml\n");
    write("other.yaml", "include:\n  - cycle.yaml\n");
    let inside = write("inside.yaml", "include: [broken.yaml]\n");
    write("broken.yaml", "steps:\n  - id: a\n    usess: x\n");
    let no_list = write("no-list.yaml", "include: { a: b }\n");
    let binary = directory.path().join("binary.yaml");
    std::fs::write(&binary, [0x6e, 0xff, 0xfe]).expect("a file in the temporary directory");
    let report: Vec<_> = [
        missing,
        cycle,
        inside,
        no_list,
        binary,
        directory.path().join("none.yaml"),
        directory.path().into(),
    ]
    .iter()
    .map(|path| load(path, &Overrides::default()).expect_err("the file is broken").render())
    .collect();
    let report = report.join("\n\n").replace(&directory.path().display().to_string(), "DIR");
    assert_snapshot!(report);
}

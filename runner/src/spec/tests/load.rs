//! Pipelines that are fine: what comes out of decoding, overlays, overrides and the matrix.

use std::{path::PathBuf, time::Duration};

use meshrun_protocol::Diagnostic;
use proptest::prelude::*;
use serde_json::json;

use super::{matrix, pipeline, sets, vars, with};
use crate::{
    ids::StepId,
    spec::{Isolation, Overrides, Retry, combinations, load},
};

const WHOLE: &str = "# The whole language
name: prod
target: { context: \"${{ vars.cluster }}\", server: https://10.0.0.1:6443 }
vars: { istio: 1.19.3, cluster: eks-cluster, kiali: true }
plugins:
  kiali:
    path: ./libkiali.so
    sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
charts: charts
state: { namespace: mesh-state }
concurrency: 2
x-wait: &wait { timeout: 5m }
steps:
  - id: base
    uses: istio-base
    with: { version: \"${{ vars.istio }}\", namespace: istio-system }
  - id: kiali
    name: the dashboard
    uses: kiali
    needs: base
    if: ${{ vars.kiali }}
    with: { wait: *wait, port: 0x10, quoted: \"1.20\", text: yes, none: ~ }
    timeout: 1m30s
    retry: { attempts: 3, backoff: 2m }
    continue-on-error: true
    isolation: in-process
";

#[test]
fn everything_is_decoded() {
    let pipeline = pipeline(WHOLE);
    assert_eq!(pipeline.name, "prod");
    let target = pipeline.target.as_ref().expect("a target");
    assert_eq!(target.context.as_deref(), Some("eks-cluster"));
    assert_eq!(target.server.as_deref(), Some("https://10.0.0.1:6443"));
    assert_eq!(pipeline.plugins["kiali"].path, PathBuf::from("pipelines/./libkiali.so"));
    assert_eq!(pipeline.charts, Some(PathBuf::from("pipelines/charts")));
    assert_eq!(pipeline.state.namespace, "mesh-state");
    assert_eq!(pipeline.concurrency, 2);
    assert_eq!(pipeline.warnings, []);

    let base = &pipeline.steps[0];
    assert_eq!(base.timeout, Duration::from_secs(600));
    assert_eq!(base.retry, Retry::default());
    assert_eq!(base.isolation, Isolation::Process);
    assert_eq!(base.with["version"], "${{ vars.istio }}");

    let kiali = &pipeline.steps[1];
    assert_eq!(kiali.name.as_deref(), Some("the dashboard"));
    assert_eq!(kiali.needs, [StepId::new("base")]);
    assert_eq!(kiali.condition.as_deref(), Some(" vars.kiali "));
    assert_eq!(kiali.timeout, Duration::from_secs(90));
    assert_eq!(kiali.retry.max_backoff, Duration::from_secs(120), "never below the first back-off");
    assert!(kiali.continue_on_error);
    assert_eq!(kiali.isolation, Isolation::InProcess);
    assert_eq!(
        kiali.with,
        json!({"wait": {"timeout": "5m"}, "port": 16, "quoted": "1.20", "text": "yes", "none": null})
    );
}

#[test]
fn a_pipeline_without_a_name_is_called_like_its_file() {
    assert_eq!(pipeline("steps: [{ id: a, uses: x }]\n").name, "prod");
}

#[test]
fn what_a_plugin_says_gets_a_place() {
    let pipeline = pipeline(WHOLE);
    let place = |pointer: &str| {
        let place = pipeline.steps[1].place_of(pointer);
        format!("{}:{}:{} {}", place.file, place.line, place.column, place.width)
    };
    assert_eq!(place("/port"), "pipelines/prod.yaml:22:32 4");
    assert_eq!(place("/wait"), "pipelines/prod.yaml:22:13 4");
    assert_eq!(place("/wait/timeout"), "pipelines/prod.yaml:12:26 2");
    assert_eq!(place("/port/deeper"), "pipelines/prod.yaml:22:32 4");
    assert_eq!(place("/nothing"), "pipelines/prod.yaml:22:5 4");
    assert_eq!(place(""), "pipelines/prod.yaml:22:5 4");
    assert_eq!(pipeline.steps[1].place.line, 17);
    assert_eq!(pipeline.steps[1].error_of_uses("wrong", None).place.map(|place| place.line), Some(19));

    let diagnostic = Diagnostic::warning("/port", "a low port").with_code("kiali/port").with_hint("use 8080");
    insta::assert_snapshot!(pipeline.steps[1].finding(&diagnostic));
}

#[test]
fn numbers_that_lose_digits_are_warned_of() {
    let pipeline =
        pipeline("vars: { istio: 1.20, ratio: 0.50, ok: 1.19, big: 1e3 }\nsteps: [{ id: a, uses: x }]\n");
    let warnings: Vec<_> = pipeline.warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n\n"));
}

#[test]
fn vars_from_the_command_line_are_yaml() {
    let text = "vars: { istio: 1.19.3, kiali: false, hosts: [] }\nsteps: [{ id: a, uses: x }]\n";
    let pipeline = with(text, &vars(&["istio=1.20.0", "kiali=true", "hosts=[a, b]"]));
    assert_eq!(json!(pipeline.vars), json!({"istio": "1.20.0", "kiali": true, "hosts": ["a", "b"]}));
    assert_eq!(with(text, &vars(&["istio="])).vars["istio"], json!(null));
    assert_eq!(with(text, &vars(&["istio=a=b"])).vars["istio"], json!("a=b"));
}

#[test]
fn values_set_from_the_command_line_go_where_the_path_says() {
    let text = "steps:\n  - id: kiali\n    uses: kiali\n    with: { hosts: [a, b], replicas: 1 }\n";
    let set = |arguments: &[&str]| with(text, &sets(arguments)).steps[0].with.clone();
    assert_eq!(set(&["steps.kiali.with.replicas=2"])["replicas"], json!(2));
    assert_eq!(set(&["steps.kiali.with.hosts[1]=c"])["hosts"], json!(["a", "c"]));
    assert_eq!(set(&["steps.kiali.with.hosts[2]=c"])["hosts"], json!(["a", "b", "c"]));
    assert_eq!(set(&["steps.kiali.with.a.b\\.c/d=x"])["a"], json!({"b.c/d": "x"}));
    assert_eq!(set(&["steps.kiali.with.list[0].name=x"])["list"], json!([{"name": "x"}]));
    assert_eq!(set(&["steps.kiali.with.replicas=null"]), json!({"hosts": ["a", "b"]}));
    let pipeline = with(text, &sets(&["steps.kiali.timeout=1m", "concurrency=1", "state.namespace=mesh"]));
    assert_eq!(pipeline.steps[0].timeout, Duration::from_secs(60));
    assert_eq!((pipeline.concurrency, pipeline.state.namespace.as_str()), (1, "mesh"));
}

#[test]
fn includes_are_laid_over_each_other() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(&path, text).expect("a file in the temporary directory");
        path
    };
    write(
        "base/mesh.yaml",
        "vars: { istio: 1.19.3, size: small }
charts: charts
steps:
  - { id: base, uses: istio-base, with: { values: { a: 1, b: 2, hosts: [x] } } }
  - { id: istiod, uses: istiod, needs: [base] }
",
    );
    let prod = write(
        "prod.yaml",
        "include: [base/mesh.yaml]
name: prod
vars: { size: large }
steps:
  - { id: base, timeout: 1m, with: { values: { a: 3, b: null, hosts: [y], c: null } } }
  - { id: kiali, uses: kiali, needs: [istiod] }
",
    );
    let pipeline = load(&prod, &Overrides::default()).unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!(json!(pipeline.vars), json!({"istio": "1.19.3", "size": "large"}));
    assert_eq!(pipeline.charts, Some(directory.path().join("base/charts")));
    let ids: Vec<_> = pipeline.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["base", "istiod", "kiali"]);
    assert_eq!(pipeline.steps[0].uses, "istio-base");
    assert_eq!(pipeline.steps[0].timeout, Duration::from_secs(60));
    assert_eq!(pipeline.steps[0].with, json!({"values": {"a": 3, "hosts": ["y"]}}));
    assert!(pipeline.steps[1].place.file.ends_with("mesh.yaml"));
}

const MATRIX: &str = "name: test-${{ matrix.cloud }}
matrix:
  istio: [1.19.3, 1.20.0]
  cloud: [eks, gke]
  exclude: [{ istio: 1.20.0, cloud: gke }]
  include:
    - { cloud: eks, region: eu-west-1 }
    - { istio: 1.21.0, cloud: kind }
vars: { istio: \"${{ matrix.istio }}\" }
steps: [{ id: a, uses: x }]
";

#[test]
fn a_matrix_gives_combinations_as_github_does() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("matrix.yaml");
    std::fs::write(&path, MATRIX).expect("a file in the temporary directory");
    let all = combinations(&path, &Overrides::default()).expect("a matrix");
    assert_eq!(
        json!(all),
        json!([
            {"istio": "1.19.3", "cloud": "eks", "region": "eu-west-1"},
            {"istio": "1.19.3", "cloud": "gke"},
            {"istio": "1.20.0", "cloud": "eks", "region": "eu-west-1"},
            {"istio": "1.21.0", "cloud": "kind"},
        ])
    );
    let some = combinations(&path, &matrix(&["cloud=eks"])).expect("a matrix");
    assert_eq!(some.len(), 2);
}

#[test]
fn one_combination_is_chosen() {
    let pipeline = with(MATRIX, &matrix(&["cloud=eks", "istio=1.20.0"]));
    assert_eq!(pipeline.name, "test-eks");
    assert_eq!(pipeline.vars["istio"], "1.20.0");
    assert_eq!(pipeline.matrix.len(), 4);
}

#[test]
fn steps_come_in_an_order_that_keeps_needs_and_the_file() {
    let pipeline = pipeline(
        "steps:
  - { id: verify, uses: x, needs: [kiali, gateway] }
  - { id: gateway, uses: x, needs: [istiod] }
  - { id: base, uses: x }
  - { id: kiali, uses: x, needs: [istiod] }
  - { id: istiod, uses: x, needs: [base] }
  - { id: other, uses: x }
",
    );
    let ids = |steps: Vec<&crate::spec::Step>| {
        steps.iter().map(|step| step.id.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ids(pipeline.order()), "base istiod gateway kiali verify other");
    let levels: Vec<_> = pipeline.levels().into_iter().map(ids).collect();
    assert_eq!(levels, ["base other", "istiod", "gateway kiali", "verify"]);
    assert_eq!(ids(pipeline.dependents(&StepId::new("istiod"))), "gateway kiali");
    let ancestors: Vec<_> = pipeline.steps[0].ancestors.iter().map(StepId::as_str).collect();
    assert_eq!(ancestors, ["base", "gateway", "istiod", "kiali"]);
}

proptest! {
    #[test]
    fn every_step_comes_after_its_needs(edges in prop::collection::vec((0usize..12, 0usize..12), 0..40)) {
        let mut text = String::from("steps:\n");
        for id in 0..12 {
            // Needs point to smaller numbers only; the file lists the steps backwards.
            let id = 11 - id;
            let needs: Vec<_> = edges.iter().filter(|(to, from)| *to == id && from < to)
                .map(|(_, from)| format!("s{from}")).collect();
            text.push_str(&format!("  - {{ id: s{id}, uses: x, needs: [{}] }}\n", needs.join(", ")));
        }
        let pipeline = pipeline(&text);
        let order = pipeline.order();
        prop_assert_eq!(order.len(), 12);
        for (at, step) in order.iter().enumerate() {
            for need in &step.needs {
                prop_assert!(order[..at].iter().any(|before| before.id == *need));
            }
        }
        prop_assert_eq!(pipeline.levels().concat().len(), 12);
    }

    #[test]
    fn no_change_of_a_text_makes_it_panic(at in 0usize..WHOLE.len(), length in 0usize..60, new in "[a-z:\\-\\n \\[\\]{}'\"#&*!|>%$é\\t]{0,12}") {
        let end = (at + length).min(WHOLE.len());
        let text = format!("{}{new}{}", &WHOLE[..at], &WHOLE[end..]);
        let _ = crate::spec::load_str("x.yaml", &text, &Overrides::default()).map_err(|error| error.render());
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-z:\\-\\n \\[\\]{}'\"#&*!|>%@`0-9.$é\\t]{0,80}") {
        let _ = crate::spec::load_str("x.yaml", &text, &Overrides::default()).map_err(|error| error.render());
    }
}

#[test]
fn files_from_windows_are_read_too() {
    let text =
        format!("{}{}", '\u{feff}', "name: prod\r\nsteps:\r\n  - id: a\r\n    uses: x\r\n    tmeout: 1m\r\n");
    insta::assert_snapshot!(super::refusal(&text, &Overrides::default()));
}

#[test]
fn a_step_that_is_switched_off_needs_no_environment() {
    let text = "vars: { kiali: false }
steps:
  - id: kiali
    uses: kiali
    if: ${{ vars.kiali }}
    with: { password: \"${{ env.KIALI_PASSWORD }}\" }
";
    assert_eq!(pipeline(text).steps.len(), 1);
    insta::assert_snapshot!(super::refusal(text, &vars(&["kiali=true"])));
}

#[test]
fn of_long_lines_a_part_is_shown() {
    let text = format!(
        "name: a\nsteps: [{{ id: a, uses: x, with: {{ a: \"{}${{{{ vars.x }}}}\" }} }}]\n",
        "long ".repeat(60)
    );
    insta::assert_snapshot!(super::refusal(&text, &Overrides::default()));
}

//! What is around a pipeline is wrong: the cluster, the kubeconfig, helm, a chart, a plugin file, the command line.

use std::os::unix::fs::PermissionsExt;

use meshrun_tests::sandbox::{Sandbox, built, check, steps};

const MINIMAL: &str =
    "name: test\nsteps:\n  - id: base\n    uses: istio-base\n    with: { version: 1.30.3 }\n";

/// A kubeconfig whose server is a port that nobody listens on.
const KUBECONFIG: &str = "apiVersion: v1
kind: Config
current-context: nowhere
contexts:
  - { name: nowhere, context: { cluster: nowhere, user: nobody } }
  - { name: unnamed, context: { cluster: elsewhere, user: nobody } }
clusters:
  - { name: nowhere, cluster: { server: http://127.0.0.1:1 } }
users:
  - { name: nobody, user: {} }
";

#[test]
fn cluster_that_does_not_answer() {
    let sandbox = Sandbox::empty()
        .file("mesh.yaml", MINIMAL)
        .file("prod.yaml", &format!("target: {{ context: prod }}\n{MINIMAL}"))
        .file("config", KUBECONFIG);
    check(
        "cluster",
        &sandbox.session(&[
            "plan mesh.yaml --kubeconfig config",
            "mesh.yaml --kubeconfig config",
            "plan mesh.yaml --kubeconfig config --context staging",
            "plan mesh.yaml --kubeconfig config --context unnamed",
            "plan prod.yaml --kubeconfig config",
            "plan prod.yaml --kubeconfig config --context nowhere",
        ]),
    );
}

#[test]
fn kubeconfig_that_cannot_be_used() {
    let sandbox = Sandbox::empty()
        .file("mesh.yaml", MINIMAL)
        .file("broken", "apiVersion: v1\nclusters: [\n")
        .file("empty", "")
        .file("text", "hello\n")
        .file("no-context", &KUBECONFIG.replace("current-context: nowhere\n", ""))
        .file("no-file", &KUBECONFIG.replace("user: {}", "user: { client-certificate: gone.crt, client-key: gone.key }"))
        .file("no-login", &KUBECONFIG.replace("user: {}", "user: { exec: { apiVersion: client.authentication.k8s.io/v1, command: aws-login, interactiveMode: Never } }"));
    check(
        "kubeconfig",
        &sandbox.session(&[
            "plan mesh.yaml",
            "plan mesh.yaml --kubeconfig gone",
            "plan mesh.yaml --kubeconfig broken",
            "plan mesh.yaml --kubeconfig empty",
            "plan mesh.yaml --kubeconfig text",
            "plan mesh.yaml --kubeconfig no-context",
            "plan mesh.yaml --kubeconfig no-file",
            "plan mesh.yaml --kubeconfig no-login",
        ]),
    );
    let said: Vec<_> = ["gone", "broken"]
        .iter()
        .map(|file| {
            let sandbox = Sandbox::empty().file("mesh.yaml", MINIMAL).file("broken", "clusters: [\n");
            sandbox.env("KUBECONFIG", file).session(&["plan mesh.yaml", "plan mesh.yaml --context prod"])
        })
        .collect();
    check("kubeconfig_of_the_environment", &said.join("\n"));
}

#[test]
fn helm_that_is_missing_or_does_not_fit() {
    let old = "#!/bin/sh\necho 'v2.16.12+g47f0b88'\n";
    let sandbox = Sandbox::empty()
        .file("mesh.yaml", MINIMAL)
        .script("helm2", old)
        .script("helm3.7", "#!/bin/sh\necho 'v3.7.2+g663a896'\n")
        .script("mute", "#!/bin/sh\nexit 3\n")
        .script("noise", "#!/bin/sh\necho hello\n")
        .file("text", "hello\n")
        .file("bin/no-helm", "")
        .env("PATH", "bin")
        .env("MESHRUN_HELM", "");
    check(
        "helm",
        &sandbox.session(&[
            "rehearse mesh.yaml",
            "rehearse mesh.yaml --helm gone",
            "rehearse mesh.yaml --helm helm2",
            "rehearse mesh.yaml --helm helm3.7",
            "rehearse mesh.yaml --helm mute",
            "rehearse mesh.yaml --helm noise",
            "rehearse mesh.yaml --helm text",
        ]),
    );
}

/// A chart that says it is Istio's base and renders this.
fn rendering(template: &str) -> Sandbox {
    Sandbox::empty()
        .file("mesh.yaml", MINIMAL)
        .file("charts/base/Chart.yaml", "apiVersion: v2\nname: base\nversion: 1.30.3\n")
        .file("charts/base/templates/all.yaml", template)
        .env("MESHRUN_CHARTS", "charts")
}

#[test]
fn chart_that_is_not_found() {
    let sandbox = Sandbox::empty()
        .file("mesh.yaml", MINIMAL)
        .file("path.yaml", &MINIMAL.replace("1.30.3 }", "1.30.3, chart: { path: ./gone } }"))
        .file("other.yaml", &MINIMAL.replace("1.30.3 }", "1.30.3, chart: { path: ./charts/other } }"))
        .file("none.yaml", &MINIMAL.replace("1.30.3 }", "1.30.3, chart: { path: ./charts } }"))
        .file("charts/other/Chart.yaml", "apiVersion: v2\nname: other\nversion: 1.0.0\n")
        .file(
            "repository.yaml",
            &MINIMAL.replace("1.30.3 }", "1.30.3, chart: { repository: \"http://127.0.0.1:1/charts\" } }"),
        )
        .env("MESHRUN_CHARTS", "charts");
    check(
        "chart_not_found",
        &sandbox.session(&[
            "rehearse repository.yaml",
            "rehearse path.yaml",
            "rehearse other.yaml",
            "rehearse none.yaml",
        ]),
    );
}

#[test]
fn chart_that_renders_what_no_cluster_takes() {
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: mesh\n";
    let deployment = "apiVersion: apps/v1
kind: Deployment
metadata: { name: istiod }
spec:
  selector: { matchLabels: { app: istiod } }
  template:
    metadata: { labels: { app: istiod } }
    spec:
      containers:
        - name: discovery
          image: pilot
          env: [{ name: PILOT_TRACE_SAMPLING, value: \"1\" }, { name: PILOT_TRACE_SAMPLING, value: \"100\" }]
";
    let cases = [
        format!("{object}data:\n  replicas: 3\n"),
        format!("{object}  annotations: {{ internal: true }}\n"),
        deployment.to_owned(),
        deployment
            .replace("spec:\n  selector", "spec:\n  replicas: two\n  revisionHistory: 3\n  selector")
            .replace(", { name: PILOT_TRACE_SAMPLING, value: \"100\" }", ""),
        format!("{object}data:\n  a: b\n c: d\n"),
        "hello: {{ .Values.hello | required \"say hello\" }}\n".to_owned(),
        "hello: {{ .Values.hello\n".to_owned(),
        "just: yaml\n".to_owned(),
        "apiVersion: example.com/v1\nkind: Widget\nmetadata: { name: mine }\n".to_owned(),
    ];
    let said: Vec<_> =
        cases.iter().map(|template| rendering(template).run("rehearse mesh.yaml").to_string()).collect();
    check("chart_rendering", &said.join("\n"));
}

#[test]
fn relative_paths_start_at_the_file_that_names_them() {
    let sandbox = Sandbox::empty()
        .file("env/path.yaml", &steps(&["base ./libs/base.so"]))
        .file(
            "env/map.yaml",
            &format!("plugins: {{ base: {{ path: libs/base.so }} }}\n{}", steps(&["base base"])),
        )
        .file("mesh.yaml", "include: [env/path.yaml]\n")
        .file("env/chart.yaml", &MINIMAL.replace("1.30.3 }", "1.30.3, chart: { path: ./gone } }"));
    check(
        "relative_paths",
        &sandbox.session(&[
            "validate env/path.yaml",
            "validate env/map.yaml",
            "validate mesh.yaml",
            "rehearse env/chart.yaml",
        ]),
    );
}

#[test]
fn plugin_file_that_cannot_be_used() {
    let uses = |file: &str| steps(&[&format!("base ./{file}")]);
    let real = fs_err::read(built().join("libmeshrun_istio_base.so")).expect("a plugin");
    let mut sandbox = Sandbox::empty();
    for file in ["gone.so", "empty.so", "text.so", "half.so", "open.so", "dir.so", "kiali.so"] {
        sandbox = sandbox.file(&format!("{file}.yaml"), &uses(file));
    }
    sandbox.write("empty.so", b"");
    sandbox.write("text.so", b"#!/bin/sh\necho hello\n");
    sandbox.write("half.so", &real[..real.len() / 2]);
    sandbox.write("dir.so/file", b"");
    let open = sandbox.write("open.so", &real);
    fs_err::set_permissions(open, PermissionsExt::from_mode(0o777)).expect("a mode");
    sandbox.write("base.so", &real);
    let pinned = |digest: &str| {
        format!("plugins:\n  mine: {{ path: ./base.so, sha256: {digest} }}\n{}", steps(&["base mine"]))
    };
    let sandbox = sandbox
        .file("pinned.yaml", &pinned(&"0a".repeat(32)))
        .file("pin.yaml", &pinned("abc"))
        .file("locked/mesh.yaml", MINIMAL)
        .file(
            "locked/meshrun.lock",
            &format!("{{ \"plugins\": {{ \"istio-base\": \"sha256:{}\" }} }}", "0".repeat(64)),
        );
    check(
        "plugin_files",
        &sandbox.session(&[
            "validate gone.so.yaml",
            "validate empty.so.yaml",
            "validate text.so.yaml",
            "validate half.so.yaml",
            "validate dir.so.yaml",
            "validate open.so.yaml",
            "validate pinned.yaml",
            "validate pin.yaml",
            "validate locked/mesh.yaml",
            "plugins inspect kaili",
            "plugins inspect ./text.so",
        ]),
    );
}

#[test]
fn plugins_beside_a_broken_one_are_listed() {
    let sandbox = Sandbox::empty();
    sandbox.write("plugins/libmeshrun_broken.so", b"hello");
    check(
        "plugin_list_with_a_broken_one",
        &sandbox.session(&["plugins list --plugins plugins", "schema --plugins plugins"]),
    );
}

#[test]
fn command_lines_that_are_wrong() {
    let sandbox = Sandbox::empty().file("mesh.yaml", MINIMAL);
    check(
        "command_line",
        &sandbox.session(&[
            "rum mesh.yaml",
            "prod",
            "run",
            "mesh.yaml --dry-run",
            "plan mesh.yaml --output yaml",
            "mesh.yaml --only",
            "mesh.yaml --only base --from base",
            "mesh.yaml other.yaml",
            "validate mesh.yaml --log loud=very=much",
            "rehearse mesh.yaml --kubernetes newest",
            "rehearse mesh.yaml --junit gone/report.xml",
        ]),
    );
}

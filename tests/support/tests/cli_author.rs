//! The plugin author's view: a workspace that knows the SDK alone, built by its own cargo, used in a pipeline.

use std::{env, path::PathBuf, process::Command};

use meshrun_tests::{
    fixtures,
    sandbox::{Sandbox, built, check},
};

/// Builds the SDK's example as its author would and returns its file.
fn echo() -> PathBuf {
    // Where the tests of the plugin loader build it too.
    let target = built().parent().expect("target").join("test-plugins");
    let build = |offline: &[&str]| {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--locked", "--target-dir"]).arg(&target).args(offline);
        cargo.current_dir(fixtures::root().join("sdk/examples/echo"));
        // What cargo tells this test about its own package is not the author's.
        for (name, _) in env::vars()
            .filter(|(name, _)| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            cargo.env_remove(name);
        }
        cargo.output().expect("cargo starts")
    };
    let mut output = build(&["--offline"]);
    if !output.status.success() {
        output = build(&[]);
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("debug/libmeshrun_echo.so")
}

fn pipeline(head: &str, uses: &str, message: &str) -> String {
    format!(
        "name: hello\n{head}steps:\n  - id: hello\n    uses: {uses}\n    with:\n      message: {message}\n"
    )
}

#[test]
fn the_example_runs_in_a_pipeline() {
    let file = echo();
    let library = fs_err::read(&file).expect("the library");
    let sandbox = Sandbox::empty()
        .file("by-path.yaml", &pipeline("", "./libmeshrun_echo.so", "hello"))
        .file("by-map.yaml", &pipeline("plugins:\n  echo: { path: lib/echo.so }\n", "echo", "hello"))
        .file("by-name.yaml", &pipeline("", "echo", "hello"))
        .file("empty.yaml", &pipeline("", "./libmeshrun_echo.so", "\"\""))
        .file("misspelt.yaml", &pipeline("", "./libmeshrun_echo.so", "hello\n      mesage: hello"));
    sandbox.write("libmeshrun_echo.so", &library);
    sandbox.write("lib/echo.so", &library);
    check(
        "author",
        &sandbox.session(&[
            "plugins inspect ./libmeshrun_echo.so",
            "rehearse by-path.yaml --verbose",
            "rehearse by-map.yaml",
            "rehearse by-name.yaml --plugins .",
            "rehearse by-name.yaml",
            "validate empty.yaml",
            "validate misspelt.yaml",
        ]),
    );
}

//! Plugins that are not the product's, each built by its own workspace as its author would.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{binary, fixtures};

/// Builds the SDK's example and returns its file.
///
/// # Panics
/// When it does not build.
pub fn echo() -> PathBuf {
    build("sdk/examples/echo", &[]).join("libmeshrun_echo.so")
}

/// Builds the test plugins and returns the file of one: `test_plugin("given")`.
///
/// # Panics
/// When they do not build.
pub fn test_plugin(name: &str) -> PathBuf {
    build("tests/fixtures/plugins", &["--examples"]).join(format!("examples/lib{name}.so"))
}

/// Builds a workspace of plugins and returns the directory of the result.
fn build(workspace: &str, arguments: &[&str]) -> PathBuf {
    let built = binary().parent().and_then(Path::parent).expect("it lies in target/debug");
    // Where the tests of the plugin loader build them too.
    let target = built.join("test-plugins");
    let run = |offline: &[&str]| {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--locked", "--target-dir"]).arg(&target).args(arguments).args(offline);
        cargo.current_dir(fixtures::root().join(workspace));
        // What cargo tells a test about its own package is not the author's.
        for (name, _) in env::vars()
            .filter(|(name, _)| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            cargo.env_remove(name);
        }
        cargo.output().expect("cargo starts")
    };
    let mut output = run(&["--offline"]);
    if !output.status.success() {
        output = run(&[]);
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("debug")
}

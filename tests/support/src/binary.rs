//! The binary under test, never a stale one: built once per test process, plugins beside it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::fixtures;

/// Returns the path of the `meshrun` under test; its plugins lie beside it.
///
/// `MESHRUN_BIN` names another one, which is then taken as it is. Otherwise cargo builds the workspace into the target
/// directory that this test came from: nothing to do takes it half a second, and its own lock makes test processes that
/// ask at once wait for each other.
///
/// # Panics
/// When the workspace does not build.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| env::var_os("MESHRUN_BIN").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    // target/<profile>/deps/<this test>
    let test = env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("tests lie in target/<profile>/deps");
    let target = profile.parent().expect("a profile lies in the target directory");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([
            "build",
            "--quiet",
            "--workspace",
            "--exclude",
            "meshrun-tests",
            "--exclude",
            "meshrun-soak",
            "--target-dir",
        ])
        .arg(target)
        .current_dir(fixtures::root());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    // Cargo describes this package to its tests. Build scripts that watch these variables (ring's) would take the change
    // for a reason to build everything anew.
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            cargo.env_remove(name);
        }
    }
    let built = cargo.output().expect("cargo starts");
    assert!(built.status.success(), "cargo build failed:\n{}", String::from_utf8_lossy(&built.stderr));
    profile.join(format!("meshrun{}", env::consts::EXE_SUFFIX))
}

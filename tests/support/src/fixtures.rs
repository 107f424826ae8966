//! Files that tests work with: the repository's own, the charts, and client tools.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};

/// Returns the root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("this package lies in tests/support")
}

/// Returns the path of a shipped pipeline: `pipeline("prod.yaml")`.
pub fn pipeline(name: &str) -> PathBuf {
    root().join("pipelines").join(name)
}

/// Returns a chart mirror: the real charts where there are any (`MESHRUN_CHARTS`, else `../shared/charts` beside the
/// repository), else the stand-ins of this repository.
pub fn charts() -> PathBuf {
    let shared = root().join("../shared/charts");
    match env::var_os("MESHRUN_CHARTS") {
        Some(directory) => directory.into(),
        None if shared.is_dir() => shared,
        None => root().join("tests/fixtures/charts"),
    }
}

/// Returns a chart of [`charts()`] as helm takes it: `chart("base", "1.30.3")`, a directory or an archive.
pub fn chart(name: &str, version: &str) -> PathBuf {
    let directory = charts().join(format!("{name}-{version}"));
    if directory.is_dir() { directory } else { charts().join(format!("{name}-{version}.tgz")) }
}

/// Returns the CRDs of the Prometheus operator that pipelines use: the real ones where there are any (`MESHRUN_CRDS`,
/// else `../shared/crds` beside the repository), else a stand-in that takes anything.
pub fn monitor_crds() -> Vec<PathBuf> {
    let directory = env::var_os("MESHRUN_CRDS").map_or_else(|| root().join("../shared/crds"), PathBuf::from);
    let real = ["servicemonitors", "podmonitors"]
        .map(|plural| directory.join(format!("monitoring.coreos.com_{plural}.yaml")));
    if real.iter().all(|file| file.is_file()) {
        return real.into();
    }
    vec![root().join("tests/fixtures/crds/monitors.yaml")]
}

/// Returns the path of a client tool, installed into the cache of the repository where it is missing: `helm`, `helm4` or
/// `kubectl`.
///
/// # Errors
/// When the tool is neither there nor can be installed.
pub fn tool(name: &str) -> Result<PathBuf> {
    // The script starts the tool to learn its version: once per process is enough.
    static KNOWN: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = known.get(name) {
        return Ok(path.clone());
    }
    let path = script("tools.sh", &[name])?;
    known.insert(name.into(), path.clone());
    Ok(path)
}

/// Returns what a script of the lab prints: a path.
pub(crate) fn script(script: &str, arguments: &[&str]) -> Result<PathBuf> {
    let path = root().join("tests/lab").join(script);
    let output = Command::new(&path).args(arguments).output().with_context(|| format!("start {script}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{script} {arguments:?} failed:\n{errors}");
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

//! The stand-in charts and, where they are at hand, the real ones, through the real helm.
//!
//! helm is found by `MESHRUN_HELM`, in `.cache/bin` or on PATH; real charts by `MESHRUN_CHARTS` or in `../shared/charts`.

mod records;
mod rendering;
mod sources;

use std::path::{Path, PathBuf};

use meshrun_protocol::{Chart, Helm as Action};
use serde_json::Value;
use tempfile::TempDir;

use super::{Capabilities, Helm, HelmError, HelmOptions};
use crate::cluster::Object;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the runner lies in the repository")
}

fn fixtures() -> PathBuf {
    repository().join("tests/fixtures/charts")
}

fn real_charts() -> Option<PathBuf> {
    let named = std::env::var_os("MESHRUN_CHARTS").map(PathBuf::from);
    let dir = named.unwrap_or_else(|| repository().join("../shared/charts"));
    dir.join("istiod-1.19.3.tgz").is_file().then_some(dir)
}

fn helm_program() -> Option<PathBuf> {
    let cached = repository().join(".cache/bin/helm");
    std::env::var_os("MESHRUN_HELM").map(PathBuf::from).or_else(|| cached.is_file().then_some(cached))
}

/// A [`Helm`] over one mirror, with a cache of its own that goes when the directory goes.
fn helm(mirror: PathBuf) -> (Helm, TempDir) {
    let cache = tempfile::tempdir().expect("a temporary directory");
    (helm_with_cache(mirror, cache.path()), cache)
}

fn helm_with_cache(mirror: PathBuf, cache: &Path) -> Helm {
    Helm::new(HelmOptions { helm: helm_program(), mirrors: vec![mirror], cache: cache.into(), lock: None })
}

fn chart(name: &str, version: &str) -> Chart {
    Chart { name: name.into(), version: version.into(), repository: None, path: None }
}

fn action(release: &str, name: &str, version: &str, values: Value) -> Action {
    Action { release: release.into(), namespace: "istio-system".into(), chart: chart(name, version), values }
}

fn kubernetes() -> Capabilities {
    Capabilities { kube_version: "v1.34.4".into(), api_versions: vec!["monitoring.coreos.com/v1".into()] }
}

fn names(objects: &[Object]) -> Vec<String> {
    objects.iter().map(ToString::to_string).collect()
}

fn told(error: &HelmError) -> String {
    format!("{error}\nhint: {}", error.hint().unwrap_or_default())
}

//! Charts, rendering and releases: from a chart's name and values to objects, and to the record that helm reads.
//!
//! Only this module starts the helm process, and only to render and to pull; objects are applied by the engine.

mod binary;
mod cache;
mod chart;
mod check;
mod digest;
mod error;
mod hook;
mod ignore;
mod manifest;
pub mod release;
mod render;
mod source;
#[cfg(test)]
mod tests;
mod yaml;

use std::{
    collections::HashMap,
    hash::Hash,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use meshrun_protocol::Chart;
use tokio::sync::OnceCell;

use crate::lock::LockFile;

pub use chart::ChartArchive;
pub use error::HelmError;
pub use hook::{DeletePolicy, Hook, HookEvent};
pub use release::Release;
pub use render::Rendered;

/// Where helm, charts and caches are.
#[derive(Debug, Clone, Default)]
pub struct HelmOptions {
    /// The helm program; `None` looks for it on PATH.
    pub helm: Option<PathBuf>,
    /// Directories with charts (`NAME-VERSION.tgz`, `NAME-VERSION/`, `NAME/`), searched in this order.
    pub mirrors: Vec<PathBuf>,
    /// Directory of pulled charts and renderings.
    pub cache: PathBuf,
    /// Digests that charts must have.
    pub lock: Option<LockFile>,
}

/// What a chart is told about the cluster it is rendered for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `v1.34.4`; empty leaves it to helm.
    pub kube_version: String,
    /// Served APIs: `apps/v1`, `apps/v1/Deployment`; helm's built-in ones are always among them.
    pub api_versions: Vec<String>,
}

/// Charts and their renderings. Finds helm and reads charts when they are first needed.
#[derive(Debug)]
pub struct Helm {
    options: HelmOptions,
    binary: OnceCell<binary::Binary>,
    charts: Once<Chart, Arc<ChartArchive>>,
    renders: Once<String, Arc<Rendered>>,
}

impl Helm {
    /// Takes the options; does nothing yet.
    pub fn new(options: HelmOptions) -> Self {
        Self { options, binary: OnceCell::new(), charts: Once::default(), renders: Once::default() }
    }

    async fn binary(&self) -> Result<&binary::Binary, HelmError> {
        self.binary
            .get_or_try_init(|| binary::Binary::find(self.options.helm.as_deref(), &self.options.cache))
            .await
    }
}

/// Values that are made once per key, however many ask for them at the same time.
#[derive(Debug)]
struct Once<K, V>(Mutex<HashMap<K, Arc<OnceCell<V>>>>);

impl<K, V> Default for Once<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Once<K, V> {
    fn cell(&self, key: K) -> Arc<OnceCell<V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
    }
}

/// Runs work that reads files or computes for long where it holds nobody up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

//! Finds, verifies, loads and runs step plugins: a name from `uses:` comes in, typed answers come out.
//!
//! [`Loader::load`] makes a [`Plugin`], which knows its [`Description`] and starts [`Session`]s; a session answers
//! `lint`, `plan` and `check`. By default it does so in a child process (see [`host`]), so that nothing a plugin does
//! can end the run, and everything it does ends with the run.
//!
//! Only this module knows `abi_stable`, `libloading` and `meshrun-abi`, and only `load` runs foreign code.

mod artifact;
mod cache;
mod digest;
mod elf;
mod error;
mod frame;
pub mod host;
mod image;
mod in_process;
mod load;
mod locate;
mod process;
mod services;
mod session;
mod verify;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use meshrun_protocol::{Description, service};

pub use digest::Digest;
pub use elf::ElfError;
pub use error::{Doing, End, PluginError, Untrusted};
pub use load::LoadError;
pub use locate::SearchPath;
pub use services::{HostServices, Limits};
pub use session::Session;

use {artifact::Artifact, cache::Cache};

/// Where a plugin's code runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// In a child process per session: a crash or a hang is an error.
    #[default]
    Child,
    /// In meshrun itself, for debuggers and profilers: a crash ends meshrun.
    InProcess,
}

/// What a pipeline says about a plugin.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// What `uses:` says: a name, or a path with a `/` in it.
    pub uses: &'a str,
    /// The file that the pipeline's `plugins:` gives for the name.
    pub file: Option<&'a Path>,
    /// The directory that relative paths start from: the pipeline file's.
    pub base: &'a Path,
    /// The digest that the lock file holds.
    pub pin: Option<&'a Digest>,
}

/// Loads plugins.
#[derive(Debug, Clone)]
pub struct Loader {
    search: SearchPath,
    cache: Cache,
    isolation: Isolation,
    program: PathBuf,
}

impl Loader {
    /// A loader for child processes of this executable; descriptions are cached where the environment says.
    pub fn new(search: SearchPath) -> Self {
        Self {
            search,
            cache: Cache::new(crate::cache::directory()),
            isolation: Isolation::default(),
            program: host::program(),
        }
    }

    /// Sets where plugins run.
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Sets the executable that answers to [`host::SUBCOMMAND`], for callers that are not meshrun.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Sets the directory in which descriptions are kept.
    #[must_use]
    pub fn cache(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache = Cache::new(directory.into());
        self
    }

    /// Where plugins are searched for.
    pub fn search(&self) -> &SearchPath {
        &self.search
    }

    /// Finds, verifies and describes a plugin. Several may be loaded side by side.
    ///
    /// # Errors
    /// When there is no such file, when it cannot be trusted or is no plugin, or when it cannot describe itself.
    pub async fn load(&self, wanted: Wanted<'_>) -> Result<Plugin, PluginError> {
        let path = self.search.resolve(wanted)?;
        let (file, pin) = (path.clone(), wanted.pin.cloned());
        let verified = tokio::task::spawn_blocking(move || verify::verify(&file, pin.as_ref()))
            .await
            .expect("verification does not panic, and its runtime outlives it")?;
        let artifact = Arc::new(Artifact::new(wanted.uses.to_owned(), path, verified, self.program.clone()));

        let description = match self.cache.read(artifact.digest()) {
            Some(description) => description,
            None => {
                let description = Session::new(artifact.clone(), self.isolation).describe().await?;
                self.cache.write(artifact.digest(), &description);
                description
            }
        };
        if !locate::is_path(wanted.uses) && wanted.uses != description.name {
            let (path, wanted) = (artifact.path().to_owned(), wanted.uses.to_owned());
            return Err(PluginError::Misnamed { path, wanted, found: description.name });
        }
        let unknown = |name: &&String| !service::ALL.contains(&name.as_str());
        let missing: Vec<_> = description.services.iter().filter(unknown).cloned().collect();
        if !missing.is_empty() {
            return Err(PluginError::TooNew { plugin: description.name, missing });
        }
        // With `panic = "abort"` not even a panic can be caught.
        let isolation = if description.panic == "abort" { Isolation::Child } else { self.isolation };
        Ok(Plugin { artifact, description: Arc::new(description), isolation })
    }
}

/// A verified plugin; a cheap handle.
#[derive(Debug, Clone)]
pub struct Plugin {
    artifact: Arc<Artifact>,
    description: Arc<Description>,
    isolation: Isolation,
}

impl Plugin {
    /// The name it gives itself.
    pub fn name(&self) -> &str {
        &self.description.name
    }

    /// The file it came from.
    pub fn path(&self) -> &Path {
        self.artifact.path()
    }

    /// Digest of the bytes that were verified, which are the bytes that run.
    pub fn digest(&self) -> &Digest {
        self.artifact.digest()
    }

    /// What it says of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Begins a conversation; its process starts with the first question.
    pub fn start(&self) -> Session {
        Session::new(self.artifact.clone(), self.isolation)
    }
}

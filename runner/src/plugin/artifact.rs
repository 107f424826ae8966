//! A verified plugin file, ready to run: what sessions share.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::{Digest, LoadError, PluginError, image::Image, load::Module, verify::Verified};

/// A verified plugin file and what it takes to run it.
#[derive(Debug)]
pub(super) struct Artifact {
    label: String,
    path: PathBuf,
    digest: Digest,
    image: Image,
    program: PathBuf,
    module: OnceLock<Result<Module, LoadError>>,
}

impl Artifact {
    pub(super) fn new(label: String, path: PathBuf, verified: Verified, program: PathBuf) -> Self {
        let Verified { digest, image } = verified;
        Self { label, path, digest, image, program, module: OnceLock::new() }
    }

    /// What `uses:` says: how errors call it.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(super) fn image(&self) -> &Image {
        &self.image
    }

    /// The executable that hosts it in a child process.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Loads it into this process, once.
    pub(super) fn module(&self) -> Result<Module, PluginError> {
        let loaded = self.module.get_or_init(|| Module::load(&self.image.keep_forever()));
        loaded.clone().map_err(|error| self.refused(error))
    }

    /// Puts a loader's error into the words of the file that people know.
    pub(super) fn refused(&self, source: LoadError) -> PluginError {
        let source = source.naming(&self.image.path(), &self.path);
        PluginError::Load { path: self.path.clone(), source }
    }
}

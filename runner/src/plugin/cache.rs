//! Descriptions on disk, by the digest of the plugin that gave them: `validate` then starts no process to know a schema.

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
};

use meshrun_protocol::Description;

use super::Digest;

/// Environment variable with the directory of everything that meshrun can make again.
const DIRECTORY: &str = "MESHRUN_CACHE";

/// Descriptions on disk. What cannot be read or written is made again.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    directory: Option<PathBuf>,
}

impl Cache {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory: Some(directory.join("plugins")) }
    }

    /// `$MESHRUN_CACHE`, else `$XDG_CACHE_HOME/meshrun`, else `~/.cache/meshrun`, else none.
    pub(super) fn from_env() -> Self {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        variable(DIRECTORY)
            .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("meshrun")))
            .or_else(|| variable("HOME").map(|home| home.join(".cache/meshrun")))
            .map_or(Self { directory: None }, Self::new)
    }

    pub(super) fn read(&self, digest: &Digest) -> Option<Description> {
        let text = fs_err::read(self.file(digest)?).ok()?;
        serde_json::from_slice(&text).ok()
    }

    pub(super) fn write(&self, digest: &Digest, description: &Description) {
        if let Err(error) = self.try_write(digest, description) {
            tracing::debug!(%error, "the description of plugin {} cannot be kept", description.name);
        }
    }

    fn try_write(&self, digest: &Digest, description: &Description) -> io::Result<()> {
        let (Some(directory), Some(file)) = (&self.directory, self.file(digest)) else { return Ok(()) };
        fs_err::create_dir_all(directory)?;
        // Another meshrun may read or write the same file now.
        let mut whole = tempfile::NamedTempFile::new_in(directory)?;
        whole.write_all(serde_json::to_string(description)?.as_bytes())?;
        whole.persist(file)?;
        Ok(())
    }

    fn file(&self, digest: &Digest) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join(digest.hex()).with_extension("json"))
    }
}

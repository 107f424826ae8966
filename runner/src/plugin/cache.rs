//! Descriptions on disk, by the digest of the plugin that gave them: `validate` then starts no process to know a schema.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use meshrun_protocol::Description;

use super::Digest;

/// Descriptions on disk. What cannot be read or written is made again.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    directory: PathBuf,
}

impl Cache {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory: directory.join("plugins") }
    }

    pub(super) fn read(&self, digest: &Digest) -> Option<Description> {
        let text = fs_err::read(self.file(digest)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    pub(super) fn write(&self, digest: &Digest, description: &Description) {
        if let Err(error) = self.try_write(digest, description) {
            tracing::debug!(%error, "the description of plugin {} cannot be kept", description.name);
        }
    }

    fn try_write(&self, digest: &Digest, description: &Description) -> io::Result<()> {
        fs_err::create_dir_all(&self.directory)?;
        // Another meshrun may read or write the same file now.
        let mut whole = tempfile::NamedTempFile::new_in(&self.directory)?;
        whole.write_all(serde_json::to_string(description)?.as_bytes())?;
        whole.persist(self.file(digest))?;
        Ok(())
    }

    fn file(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.hex()).with_extension("json")
    }
}

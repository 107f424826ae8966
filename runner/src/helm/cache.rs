//! Files that only save time: one that is missing, broken or cannot be written is as good as none.
//!
//! They are for their owner alone (files 0600, directories 0700), since what is rendered holds values.

use std::{
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::Path,
    time::{Duration, SystemTime},
};

use serde::{Serialize, de::DeserializeOwned};

/// A cached file that nobody wrote for so long is removed.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Reads JSON.
pub(crate) fn read<T: DeserializeOwned>(file: &Path) -> Option<T> {
    serde_json::from_slice(&fs_err::read(file).ok()?).ok()
}

/// Writes JSON, in one step as others see it.
pub(crate) fn write(file: &Path, content: &impl Serialize) {
    if let Err(error) = try_write(file, content) {
        tracing::debug!(%error, file = %file.display(), "cache not written");
    }
}

fn try_write(file: &Path, content: &impl Serialize) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("."));
    create_dir(dir)?;
    let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
    serde_json::to_writer(io::BufWriter::new(&mut temporary), content)?;
    temporary.flush()?;
    temporary.persist(file)?;
    Ok(())
}

/// Creates a directory for its owner alone, with those above it.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Removes files that have not been written for a month.
pub(crate) fn prune(dir: &Path) {
    let Ok(entries) = fs_err::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let old = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|written| SystemTime::now().duration_since(written).is_ok_and(|age| age > MAX_AGE));
        if old {
            drop(fs_err::remove_file(entry.path()));
        }
    }
}

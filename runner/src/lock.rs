//! `meshrun.lock`: the digests that charts and plugins must have, beside the pipeline file.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Digests by name, so that a run uses what was reviewed and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// `istiod 1.19.3` -> `sha256:...`.
    #[serde(default)]
    pub charts: BTreeMap<String, String>,
    /// `istiod` -> `sha256:...`.
    #[serde(default)]
    pub plugins: BTreeMap<String, String>,
}

/// A lock file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LockFileError {
    /// The file system says no.
    #[error("{doing} the lock file")]
    File {
        /// `read`, `write`.
        doing: &'static str,
        /// What it says; it names the file.
        source: io::Error,
    },
    /// It is not what meshrun writes.
    #[error("lock file `{}` is damaged", path.display())]
    Damaged {
        /// Its path.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
}

impl LockFileError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::File { .. } => None,
            Self::Damaged { .. } => {
                Some("take it from version control again, or delete it and run `meshrun vendor`")
            }
        }
    }
}

impl LockFile {
    /// Reads a lock file; `None` where there is none.
    ///
    /// # Errors
    /// Where it cannot be read or is no lock file.
    pub fn read(path: &Path) -> Result<Option<Self>, LockFileError> {
        let text = match fs_err::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LockFileError::File { doing: "read", source }),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| LockFileError::Damaged { path: path.into(), source })
    }

    /// Writes the lock file, in one step as others see it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), LockFileError> {
        let write = || {
            let dir = match path.parent() {
                Some(dir) if !dir.as_os_str().is_empty() => dir,
                _ => Path::new("."),
            };
            let mut file = tempfile::NamedTempFile::new_in(dir)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(|source| LockFileError::File { doing: "write", source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("meshrun.lock");
        assert_eq!(LockFile::read(&path).expect("no file is fine"), None);
        let mut lock = LockFile::default();
        lock.charts.insert("istiod 1.19.3".into(), "sha256:aa".into());
        lock.write(&path).expect("it is written");
        assert_eq!(LockFile::read(&path).expect("it is read"), Some(lock));
    }

    #[test]
    fn says_where_it_is_damaged() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("meshrun.lock");
        fs_err::write(&path, "{ \"chart\": {} }").expect("it is written");
        let error = LockFile::read(&path).expect_err("it has an unknown field");
        assert_eq!(error.to_string(), format!("lock file `{}` is damaged", path.display()));
        let source = std::error::Error::source(&error).expect("it has a cause").to_string();
        assert_eq!(source, "unknown field `chart`, expected `charts` or `plugins` at line 1 column 9");
    }
}

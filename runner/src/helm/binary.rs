//! The helm program: where it is, which version it is, and how it is run.

use std::{
    ffi::OsStr,
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Stdio,
};

use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt, process::Command};

use super::{HelmError, cache};

/// A helm that meshrun can work with.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    path: PathBuf,
    pub(crate) version: String,
}

/// What a run of helm left behind.
pub(crate) struct Output {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The answer to `helm version`, for as long as the file is the same.
#[derive(PartialEq, Serialize, Deserialize)]
struct Known {
    path: PathBuf,
    modified: (i64, i64),
    size: u64,
    version: String,
}

impl Binary {
    /// Finds helm where it was said to be, else on PATH; asks it for its version if it is not known yet.
    ///
    /// # Errors
    /// Where there is no helm, or none of a fitting version.
    pub(crate) async fn find(named: Option<&Path>, cache: &Path) -> Result<Self, HelmError> {
        let path = match named {
            // A bare file name would be looked for on PATH.
            Some(path) if is_executable(path) => std::path::absolute(path).unwrap_or_else(|_| path.into()),
            Some(path) => return Err(HelmError::NotThere { path: path.into() }),
            None => on_path().ok_or(HelmError::Missing)?,
        };
        let start = |source| HelmError::Start { path: path.clone(), source };
        let metadata = fs_err::metadata(&path).map_err(start)?;
        let mut known = Known {
            path: path.clone(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
            version: String::new(),
        };
        let file = cache.join("helm.json");
        if let Some(stored) = cache::read::<Known>(&file) {
            known.version.clone_from(&stored.version);
            if known == stored {
                return Ok(Self { path, version: stored.version });
            }
        }
        let mut binary = Self { path: path.clone(), version: String::new() };
        let answer = binary.run(&["version", "--template", "{{.Version}}"], None).await?;
        let version = answer.stdout.trim().trim_start_matches('v').to_owned();
        if !answer.success || !is_supported(&version) {
            let is_version = answer.success && version.starts_with(|first: char| first.is_ascii_digit());
            let version = if is_version { version } else { "no helm: `helm version` does not answer".into() };
            return Err(HelmError::WrongVersion { path, version });
        }
        known.version.clone_from(&version);
        cache::write(&file, &known);
        binary.version = version;
        Ok(binary)
    }

    /// A helm of a known version that cannot be started.
    #[cfg(test)]
    pub(crate) fn unusable(version: &str) -> Self {
        Self { path: "/no/helm".into(), version: version.into() }
    }

    /// Runs helm to its end; dropping the future ends the process.
    ///
    /// # Errors
    /// Where it does not start. A run that fails is an [`Output`] too.
    pub(crate) async fn run<S: AsRef<OsStr>>(
        &self,
        args: &[S],
        stdin: Option<&[u8]>,
    ) -> Result<Output, HelmError> {
        let failed = |source: io::Error| HelmError::Start { path: self.path.clone(), source };
        let mut child = Command::new(&self.path)
            .args(args)
            .env_remove("HELM_DEBUG")
            .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let pipe = child.stdin.take();
        let feed = async {
            if let (Some(mut pipe), Some(input)) = (pipe, stdin) {
                // A helm that ends before it has read everything says why on its standard error.
                drop(pipe.write_all(input).await);
            }
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        let output = output.map_err(failed)?;
        Ok(Output {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("helm")).find(|file| is_executable(file))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// 3.8 is the first helm that pulls from OCI registries without a feature flag.
fn is_supported(version: &str) -> bool {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(3), Some(minor)) => minor >= 8,
        (Some(4), _) => true,
        _ => false,
    }
}

/// What helm says on its standard error, without its ornaments.
pub(crate) fn clean_message(stderr: &str) -> String {
    let lines: Vec<_> = stderr
        .lines()
        .map(|line| line.strip_prefix("Error: ").unwrap_or(line).trim_end())
        .filter(|line| {
            !line.is_empty()
                && !line.starts_with("Use --debug flag")
                && !line.starts_with("WARNING: ")
                && !line.starts_with("coalesce.go:")
                && !line.starts_with("level=")
        })
        .collect();
    if lines.is_empty() { "it does not say why".into() } else { lines.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_helm_3_8_to_4() {
        let fit = ["3.8.0", "3.17.3", "4.0.0-rc.1", "4.3.1+g123"];
        let unfit = ["2.17.0", "3.7.2", "5.0.0", "", "unknown"];
        assert!(fit.into_iter().all(is_supported));
        assert!(!unfit.into_iter().any(is_supported));
    }

    #[test]
    fn cleans_what_helm_says() {
        let stderr = "coalesce.go:289: warning: destination for x is a table\n\
                      Error: execution error at (istiod/templates/a.yaml:1:4): unknown profile\n\n\
                      Use --debug flag to render out invalid YAML\n";
        assert_eq!(
            clean_message(stderr),
            "execution error at (istiod/templates/a.yaml:1:4): unknown profile"
        );
        assert_eq!(clean_message(""), "it does not say why");
    }

    #[tokio::test]
    async fn refuses_a_helm_that_is_not_there() {
        let cache = tempfile::tempdir().expect("a temporary directory");
        let error =
            Binary::find(Some(Path::new("/no/helm")), cache.path()).await.expect_err("it is not there");
        assert_eq!(error.to_string(), "helm `/no/helm` does not exist or is not executable");
        assert_eq!(error.hint().as_deref(), Some("correct --helm or MESHRUN_HELM"));
        assert_eq!(error.exit_code(), crate::exit_code::ExitCode::MissingTool);
    }

    #[tokio::test]
    async fn asks_for_the_version_once_for_as_long_as_the_file_is_the_same() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let helm = dir.path().join("helm");
        let calls = dir.path().join("calls");
        let write = |version: &str| {
            let script = format!("#!/bin/sh\necho x >> {}\necho v{version}\n", calls.display());
            fs_err::write(&helm, script).expect("the script is written");
            fs_err::set_permissions(&helm, PermissionsExt::from_mode(0o755)).expect("it is made executable");
        };
        let cache = dir.path().join("cache");
        write("3.9.0");
        for _ in 0..2 {
            assert_eq!(Binary::find(Some(&helm), &cache).await.expect("it fits").version, "3.9.0");
        }
        assert_eq!(fs_err::read_to_string(&calls).expect("it was called"), "x\n");
        write("3.7.22");
        let error = Binary::find(Some(&helm), &cache).await.expect_err("it is too old");
        let path = helm.display();
        assert_eq!(
            error.to_string(),
            format!("helm `{path}` is 3.7.22; meshrun works with 3.8 and newer, below 5")
        );
    }
}

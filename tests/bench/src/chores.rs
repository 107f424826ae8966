//! The lab, the tools, and running a command to its end.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// Says on standard error what is being done.
pub(crate) fn tell(text: &str) {
    // Who does not read it misses nothing that the table does not say.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Programs and charts.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) lab: PathBuf,
    pub(crate) helm: PathBuf,
    pub(crate) kubectl: PathBuf,
    pub(crate) charts: PathBuf,
}

impl Tools {
    /// Takes what `MESHRUN_LAB`, `MESHRUN_HELM` and `MESHRUN_CHARTS` name; else the scripts of the lab make the first
    /// two, as they make kubectl, and the charts lie in `../shared/charts`.
    pub(crate) fn find() -> Result<Self> {
        let lab_dir = root().join("tests/lab");
        let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
        let script = |name: &str, argument: Option<&str>| -> Result<PathBuf> {
            let output = output(Command::new(lab_dir.join(name)).args(argument))?;
            Ok(output.lines().last().unwrap_or_default().into())
        };
        let charts = named("MESHRUN_CHARTS").unwrap_or_else(|| root().join("../shared/charts"));
        let charts =
            fs_err::canonicalize(charts).context("name the directory with the charts: MESHRUN_CHARTS")?;
        Ok(Self {
            lab: named("MESHRUN_LAB").map_or_else(|| script("build.sh", None), Ok)?,
            helm: named("MESHRUN_HELM").map_or_else(|| script("tools.sh", Some("helm")), Ok)?,
            kubectl: script("tools.sh", Some("kubectl"))?,
            charts,
        })
    }
}

/// A running lab; ends with this value.
#[derive(Debug)]
pub(crate) struct Lab {
    program: PathBuf,
    dir: TempDir,
    kubeconfig: PathBuf,
}

impl Lab {
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("meshrun-bench-").tempdir()?;
        let pid = std::process::id().to_string();
        let mut up = Command::new(program);
        // The HPA's period would else be what is measured: a second replica comes up to 15 s late.
        up.args(["up", "--detach", "--hpa-sync", "1s", "--watch-pid", &pid, "--dir"]).arg(dir.path());
        let kubeconfig = output(&mut up)?.lines().last().unwrap_or_default().into();
        Ok(Self { program: program.into(), dir, kubeconfig })
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Back to the empty cluster.
    pub(crate) fn reset(&self) -> Result<()> {
        output(Command::new(&self.program).args(["reset", "--dir"]).arg(self.dir.path())).map(drop)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let down = output(Command::new(&self.program).args(["down", "--dir"]).arg(self.dir.path()));
        if let Err(error) = down {
            tell(&format!("the lab does not end: {error:#}"));
        }
    }
}

/// Runs a command that must succeed; returns its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command that must succeed; returns the seconds it took.
pub(crate) fn timed(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    output(command)?;
    Ok(started.elapsed().as_secs_f64())
}

//! The meshrun that is measured, as its users run it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    chores::{Tools, output, root, timed},
    memory::{self, Peak},
};

/// meshrun, its pipeline, and a cache of its own.
#[derive(Debug)]
pub(crate) struct Subject {
    binary: PathBuf,
    pipeline: PathBuf,
    kubeconfig: PathBuf,
    helm: PathBuf,
    charts: PathBuf,
    cache: TempDir,
}

impl Subject {
    pub(crate) fn new(binary: PathBuf, tools: &Tools, kubeconfig: &Path) -> Result<Self> {
        Ok(Self {
            binary,
            pipeline: fs_err::canonicalize(root().join("pipelines/prod.yaml"))?,
            kubeconfig: kubeconfig.into(),
            helm: tools.helm.clone(),
            charts: tools.charts.clone(),
            cache: TempDir::new()?,
        })
    }

    /// A run, fresh or repeated, as the cluster is.
    pub(crate) fn run(&self) -> Result<f64> {
        timed(&mut self.rollout("plain"))
    }

    /// A run whose memory is watched.
    pub(crate) fn memory(&self) -> Result<Peak> {
        let mut command = self.rollout("plain");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let peak = memory::watch(child.id());
        let status = child.wait()?;
        ensure!(status.success(), "{command:?} failed ({status})");
        Ok(peak)
    }

    /// The plan of a cluster that is as it should be.
    pub(crate) fn plan(&self) -> Result<f64> {
        // Exit code 2 would say that something is to be changed.
        timed(self.command("plan").arg("--detailed-exitcode").arg("--kubeconfig").arg(&self.kubeconfig))
    }

    /// The plan for programs.
    pub(crate) fn plan_json(&self) -> Result<serde_json::Value> {
        let mut plan = self.command("plan");
        let text = output(plan.args(["--output", "json", "--kubeconfig"]).arg(&self.kubeconfig))?;
        serde_json::from_str(&text).context("read the plan")
    }

    pub(crate) fn validate(&self) -> Result<f64> {
        timed(&mut self.command("validate"))
    }

    pub(crate) fn start(&self) -> Result<f64> {
        timed(Command::new(&self.binary).arg("--version"))
    }

    pub(crate) fn version_text(&self) -> Result<String> {
        Ok(output(Command::new(&self.binary).arg("--version"))?.trim().to_owned())
    }

    /// Makes the next run render its charts anew; what is known of plugins and helm stays.
    pub(crate) fn forget_renderings(&self) -> Result<()> {
        let renders = self.cache.path().join("renders");
        ensure!(renders.is_dir(), "meshrun no longer caches renderings in `renders`: the bench must follow");
        Ok(fs_err::remove_dir_all(renders)?)
    }

    /// The command of a run, with a form of its report.
    pub(crate) fn rollout(&self, report: &str) -> Command {
        let mut command = self.command("run");
        command.args(["--report", report, "--kubeconfig"]).arg(&self.kubeconfig);
        command
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg(name)
            .arg(&self.pipeline)
            .env("MESHRUN_CACHE", self.cache.path())
            .env("MESHRUN_HELM", &self.helm)
            .env("MESHRUN_CHARTS", &self.charts);
        command
    }
}

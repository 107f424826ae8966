//! The manual guide's commands as a script, with the one fix without which they fail (an annotation's value must be a
//! string); and helm at the releases that meshrun recorded.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::chores::{Tools, output, timed};

/// How long the gateway has to become ready after a script that does not wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// The guide's steps 1 to 8 and 10. Left out: `sleep 60`, and ServiceMonitors (nothing serves their API here). The
/// releases are installed with `upgrade --install`, so that the script can be run again.
const SCRIPT: &str = include_str!("guide.sh");

/// The script of the guide.
#[derive(Debug)]
pub(crate) struct Script {
    helm: PathBuf,
    kubectl: PathBuf,
    charts: PathBuf,
    kubeconfig: PathBuf,
    wait: bool,
}

impl Script {
    /// The script with or without `--wait` at each helm.
    pub(crate) fn new(tools: &Tools, kubeconfig: &Path, wait: bool) -> Self {
        let (helm, kubectl, charts) = (tools.helm.clone(), tools.kubectl.clone(), tools.charts.clone());
        Self { helm, kubectl, charts, kubeconfig: kubeconfig.into(), wait }
    }

    pub(crate) fn run(&self) -> Result<f64> {
        let mut shell = Command::new("bash");
        shell.args(["-euc", SCRIPT]).env("HELM", &self.helm).env("CHARTS", &self.charts);
        shell.env("KUBECTL", &self.kubectl);
        shell.env("KUBECONFIG", &self.kubeconfig).env("WAIT", if self.wait { "--wait" } else { "" });
        timed(&mut shell)
    }

    /// Whether the gateway is ready in the end: without `--wait` its pods can have been made before the injector was
    /// there, and then never start.
    pub(crate) fn gateway_becomes_ready(&self) -> Result<bool> {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        let started = Instant::now();
        let mut rollout = Command::new(&self.kubectl);
        rollout.args(["rollout", "status", "deployment/istio-gateway", "-n", "istio-system", &timeout]);
        rollout.env("KUBECONFIG", &self.kubeconfig).stdout(Stdio::null()).stderr(Stdio::null());
        let ready = rollout.status().context("start kubectl")?.success();
        ensure!(ready || started.elapsed() >= PATIENCE, "kubectl cannot tell whether the gateway is ready");
        Ok(ready)
    }
}

/// A release that meshrun recorded, with what helm needs to do the same.
#[derive(Debug)]
struct Release {
    name: String,
    namespace: String,
    chart: PathBuf,
    values: PathBuf,
}

/// The recorded releases.
#[derive(Debug)]
pub(crate) struct Releases {
    helm: PathBuf,
    kubeconfig: PathBuf,
    releases: Vec<Release>,
    /// Where the values lie.
    _values: TempDir,
}

impl Releases {
    /// Reads what `helm list` shows.
    pub(crate) fn recorded(tools: &Tools, kubeconfig: &Path) -> Result<Self> {
        let helm = |arguments: &[&str]| {
            output(Command::new(&tools.helm).args(arguments).env("KUBECONFIG", kubeconfig))
        };
        let dir = TempDir::new()?;
        let list: Vec<Value> = serde_json::from_str(&helm(&["list", "-A", "-o", "json"])?)?;
        ensure!(list.len() == 4, "meshrun recorded {} releases instead of 4", list.len());
        let mut releases = Vec::new();
        for release in &list {
            let text = |field: &str| release[field].as_str().unwrap_or_default().to_owned();
            let (name, namespace) = (text("name"), text("namespace"));
            let values = dir.path().join(format!("{name}.yaml"));
            fs_err::write(&values, helm(&["get", "values", &name, "-n", &namespace, "-o", "yaml"])?)?;
            let chart = tools.charts.join(format!("{}.tgz", text("chart")));
            releases.push(Release { name, namespace, chart, values });
        }
        Ok(Self { helm: tools.helm.clone(), kubeconfig: kubeconfig.into(), releases, _values: dir })
    }

    /// `helm template` of each, one after another.
    pub(crate) fn template(&self) -> Result<f64> {
        self.each(&["template", "--include-crds"])
    }

    /// `helm upgrade --dry-run=server` of each, one after another.
    pub(crate) fn dry_run(&self) -> Result<f64> {
        self.each(&["upgrade", "--dry-run=server"])
    }

    /// All objects that the releases hold, CRDs included, as YAML documents.
    pub(crate) fn manifests(&self) -> Result<Vec<String>> {
        let helm = |arguments: &mut Command| output(arguments.env("KUBECONFIG", &self.kubeconfig));
        let mut all = Vec::new();
        for release in &self.releases {
            let mut get = Command::new(&self.helm);
            all.push(helm(get.args(["get", "manifest", &release.name, "-n", &release.namespace]))?);
            all.push(helm(Command::new(&self.helm).args(["show", "crds"]).arg(&release.chart))?);
        }
        Ok(all)
    }

    fn each(&self, command: &[&str]) -> Result<f64> {
        self.releases
            .iter()
            .map(|release| {
                let mut helm = Command::new(&self.helm);
                helm.args(command).arg(&release.name).arg(&release.chart).args([
                    "-n",
                    &release.namespace,
                    "-f",
                ]);
                timed(helm.arg(&release.values).env("KUBECONFIG", &self.kubeconfig))
            })
            .sum()
    }
}

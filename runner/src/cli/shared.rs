//! Options that several commands have: the pipeline, the cluster, the steps, the report.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::report::{Color, Format};

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Look for plugins here first (repeatable) [env: MESHRUN_PLUGINS]
    #[arg(long, global = true, value_name = "DIR")]
    pub plugins: Vec<PathBuf>,
    /// Look for charts here before asking their repositories (repeatable) [env: MESHRUN_CHARTS]
    #[arg(long, global = true, value_name = "DIR")]
    pub charts: Vec<PathBuf>,
    // Not clap's `env`: usage lines would show the option as if it were required.
    /// The helm program [env: MESHRUN_HELM] [default: helm on PATH]
    #[arg(long, global = true, value_name = "FILE")]
    pub helm: Option<PathBuf>,
    /// Use colours: auto (on a terminal, unless NO_COLOR is set), always, never
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        hide_possible_values = true
    )]
    pub color: Color,
    /// Log to standard error: error, warn, info, debug, trace, or filters such as meshrun::helm=debug
    /// [env: MESHRUN_LOG]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Form of the log: text or json
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORM",
        hide_possible_values = true
    )]
    pub log_format: LogFormat,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Which pipeline, and with which values.
#[derive(Debug, Clone, Args)]
pub struct PipelineArgs {
    /// The pipeline file
    #[arg(value_name = "PIPELINE")]
    pub pipeline: PathBuf,
    /// Change a variable of the pipeline: istio=1.30.3 (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    pub var: Vec<String>,
    /// Change any value of the pipeline: steps.kiali.timeout=20m (repeatable)
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Choose from the pipeline's matrix: cloud=eks (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    pub matrix: Vec<String>,
}

/// Which cluster.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// The kubeconfig [default: KUBECONFIG, ~/.kube/config, then the pod's service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context in it [default: the pipeline's `target`, then the current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// Which steps.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Steps")]
pub struct SelectionArgs {
    /// Take only these steps and leave the others as they are
    #[arg(long, value_name = "STEP,...", value_delimiter = ',', conflicts_with = "from")]
    pub only: Vec<String>,
    /// Take this step and all that need it
    #[arg(long, value_name = "STEP")]
    pub from: Option<String>,
}

/// How a run is reported.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Report")]
pub struct ReportArgs {
    /// Form: auto (live on a terminal, lines elsewhere), plain (lines), json (one event a line)
    #[arg(long, value_enum, default_value_t, value_name = "FORM", hide_possible_values = true)]
    pub report: Format,
    /// Also write a JUnit report to this file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Tell every object and every check, also the unchanged and the skipped ones
    #[arg(short, long)]
    pub verbose: bool,
}

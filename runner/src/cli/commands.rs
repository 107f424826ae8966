//! The options of each command.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{ClusterArgs, PipelineArgs, ReportArgs, SelectionArgs};

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Do not ask before deletions and replacements
    #[arg(short, long)]
    pub yes: bool,
    /// Carry out exactly this plan (see `meshrun plan --out`), and nothing where another would come out by now
    #[arg(long, value_name = "FILE", conflicts_with_all = ["only", "from"])]
    pub plan: Option<PathBuf>,
    /// Wait this long for another run to end, such as 5m [default: do not wait]
    #[arg(long, value_name = "DURATION")]
    pub wait_lock: Option<humantime::Duration>,
    /// Insist on a jump between versions that a step would refuse (see `meshrun upgrade-path`)
    #[arg(long)]
    pub allow_skip: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Which steps.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// How it is reported.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Form of the plan: text, json, or markdown (for a comment on a pull request)
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM", hide_possible_values = true)]
    pub output: PlanFormat,
    /// Exit with 2 where something would change, and with 0 where nothing would
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Also list the objects that are as they should be
    #[arg(short, long)]
    pub verbose: bool,
    /// Also keep the plan in this file, for `meshrun run --plan FILE`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Plan a jump between versions that a step would refuse (see `meshrun upgrade-path`)
    #[arg(long)]
    pub allow_skip: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Which steps.
    #[command(flatten)]
    pub selection: SelectionArgs,
}

/// Form of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum PlanFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For a comment on a pull request.
    Markdown,
}

/// `destroy`.
#[derive(Debug, Args)]
pub struct DestroyArgs {
    /// Which pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Form of what --dry-run shows: text, json, or markdown
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM", hide_possible_values = true)]
    pub output: PlanFormat,
    /// Also delete the CRDs, and with them every object of their kinds
    #[arg(long)]
    pub crds: bool,
    /// Back up the objects that people made with these CRDs to this file [default: a new file here]
    #[arg(long, value_name = "FILE", conflicts_with = "no_backup")]
    pub backup: Option<PathBuf>,
    /// Do without the backup
    #[arg(long)]
    pub no_backup: bool,
    /// Wait this long for another run to end, such as 5m [default: do not wait]
    #[arg(long, value_name = "DURATION")]
    pub wait_lock: Option<humantime::Duration>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// How it is reported.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Which pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Form of the status: text, json
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM", hide_possible_values = true)]
    pub output: StatusFormat,
    /// Exit with 2 where something has drifted from the pipeline, and with 0 where nothing has
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Form of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum StatusFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// `rehearse`.
#[derive(Debug, Args)]
pub struct RehearseArgs {
    /// Which pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Version of Kubernetes to rehearse for
    #[arg(long, value_name = "VERSION", default_value = "v1.34.0", value_parser = kubernetes_version)]
    pub kubernetes: String,
    /// How it is reported.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// `graph`.
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// Which pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Form of the drawing: text, dot (for Graphviz), mermaid (for Markdown)
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM", hide_possible_values = true)]
    pub output: GraphFormat,
}

/// Reads `1.34`, `1.34.2` or `v1.34.2` as a server says it: `v1.34.2`.
fn kubernetes_version(text: &str) -> Result<String, String> {
    let plain = text.strip_prefix('v').unwrap_or(text);
    let numbers: Vec<_> = plain.split('.').map(str::parse::<u16>).collect();
    match numbers.as_slice() {
        [Ok(1), Ok(minor)] => Ok(format!("v1.{minor}.0")),
        [Ok(1), Ok(minor), Ok(patch)] => Ok(format!("v1.{minor}.{patch}")),
        _ => Err("write it as `1.34` or `v1.34.2`".into()),
    }
}

/// Form of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum GraphFormat {
    /// Lines for people.
    #[default]
    Text,
    /// For Graphviz.
    Dot,
    /// For Markdown.
    Mermaid,
}

/// `plugins`.
#[derive(Debug, Subcommand)]
pub enum PluginsCommand {
    /// List the plugins that `uses:` can name
    List,
    /// Show what a plugin does, what `with:` takes and what outputs it gives
    Inspect {
        /// Its name, or the path of its file (with a `/` in it)
        #[arg(value_name = "PLUGIN")]
        plugin: String,
        /// Print its description as JSON, with the schema of its configuration
        #[arg(long)]
        json: bool,
    },
}

/// `upgrade-path`.
#[derive(Debug, Args)]
pub struct UpgradePathArgs {
    /// The plugin to ask: its name, or the path of its file (with a `/` in it)
    #[arg(value_name = "PLUGIN", default_value = "istiod")]
    pub plugin: String,
    /// Version that is installed
    #[arg(long, value_name = "VERSION")]
    pub from: String,
    /// Version that is wanted
    #[arg(long, value_name = "VERSION")]
    pub to: String,
    /// Kubernetes version of the cluster, which not every version supports
    #[arg(long, value_name = "VERSION")]
    pub kubernetes: Option<String>,
    /// Form of the path: text, json
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM", hide_possible_values = true)]
    pub output: PathFormat,
}

/// Form of an upgrade path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum PathFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// `vendor`.
#[derive(Debug, Args)]
pub struct VendorArgs {
    /// Which pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Directory to copy the charts to
    #[arg(long, value_name = "DIR", default_value = "charts")]
    pub to: PathBuf,
}

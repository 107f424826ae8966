//! The command line: types only; `meshrun PIPELINE` is `meshrun run PIPELINE`.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::report::{Color, Format};

/// Rolls out a service mesh on Kubernetes as a pipeline file says: planned, waited for, checked, repeatable.
#[derive(Debug, Parser)]
#[command(
    name = "meshrun",
    version,
    arg_required_else_help = true,
    override_usage = "meshrun [OPTIONS] PIPELINE\n       meshrun [OPTIONS] COMMAND",
    after_help = "`meshrun PIPELINE` is short for `meshrun run PIPELINE`. Exit codes: docs/exit-codes.md.",
    max_term_width = 110
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// For every command.
    #[command(flatten)]
    pub global: GlobalArgs,
}

impl Cli {
    /// Parses arguments, the program's name first; `meshrun PIPELINE` as `meshrun run PIPELINE`.
    ///
    /// # Errors
    /// What is wrong with them, or the help or version that was asked for.
    pub fn parse_from_args(args: Vec<OsString>) -> Result<Self, clap::Error> {
        let command = Self::command();
        let names_command = args
            .iter()
            .skip(1)
            .any(|arg| arg == "help" || command.get_subcommands().any(|known| arg == known.get_name()));
        let names_file = args.iter().skip(1).any(|arg| is_pipeline(Path::new(arg)));
        if names_command || !names_file {
            return Self::try_parse_from(args);
        }
        let mut args = args;
        args.insert(1, "run".into());
        Self::try_parse_from(args)
    }
}

/// Whether an argument can only be a pipeline file: no command is spelled like one.
fn is_pipeline(path: &Path) -> bool {
    let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    yaml || path.components().count() > 1
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Roll out: plan, apply, wait and check every step
    Run(RunArgs),
    /// Show what a run would change, object by object, and change nothing
    Plan(PlanArgs),
    /// Check the file, its plugins and their configuration; needs no cluster
    Validate(PipelineArgs),
    /// Take away everything that a pipeline made, in reverse order, and report what is left
    Destroy(DestroyArgs),
    /// Run the whole pipeline on a cluster in memory: real plugins, real charts, nothing to break
    Rehearse(RehearseArgs),
    /// Draw the steps and what they need
    Graph(GraphArgs),
    /// List plugins, or show one in full
    #[command(subcommand)]
    Plugins(PluginsCommand),
    /// Show the versions to go through on the way from one version to another, and what changes on it
    UpgradePath(UpgradePathArgs),
    /// Print the JSON Schema of pipeline files, with every plugin's configuration in it, for editors
    Schema,
    /// Copy the charts of a pipeline into a directory and pin their digests, for machines without network
    Vendor(VendorArgs),
    /// Print a shell's completion script
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// Directory with plugins, searched before those beside the executable (repeatable; also MESHRUN_PLUGINS)
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub plugins: Vec<PathBuf>,
    /// Directory with charts, searched before their repositories (repeatable; also MESHRUN_CHARTS)
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub charts: Vec<PathBuf>,
    /// The helm program [default: helm on PATH]
    #[arg(long, global = true, value_name = "FILE", env = "MESHRUN_HELM", help_heading = "Global options")]
    pub helm: Option<PathBuf>,
    /// Colours
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        help_heading = "Global options"
    )]
    pub color: Color,
    /// Log to standard error: error, warn, info, debug, trace, or filters such as meshrun::helm=debug
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "MESHRUN_LOG",
        default_value = "error",
        help_heading = "Global options"
    )]
    pub log: String,
    /// Form of the log
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORM",
        help_heading = "Global options"
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
    /// Set a variable of the pipeline (repeatable); the value is YAML
    #[arg(long, value_name = "NAME=VALUE")]
    pub var: Vec<String>,
    /// Set anything in the pipeline: steps.kiali.with.version=2.29.0 (repeatable); the value is YAML
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Choose a combination of the pipeline's matrix (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    pub matrix: Vec<String>,
}

/// Which cluster.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// The kubeconfig [default: KUBECONFIG, ~/.kube/config, then the pod's service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig context [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// Which steps.
#[derive(Debug, Clone, Args)]
pub struct SelectionArgs {
    /// Only these steps (repeatable, or separated by commas); the others are left as they are
    #[arg(long, value_name = "STEP", value_delimiter = ',', conflicts_with = "from")]
    pub only: Vec<String>,
    /// This step and all that need it
    #[arg(long, value_name = "STEP")]
    pub from: Option<String>,
}

/// How a run is reported.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Form of the report: live on a terminal and plain lines elsewhere, always plain, or one JSON event a line
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub report: Format,
    /// Also write a JUnit report
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Tell every object, also the unchanged ones
    #[arg(short, long)]
    pub verbose: bool,
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Which steps.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// How it is reported.
    #[command(flatten)]
    pub report: ReportArgs,
    /// Do not ask before deletions and replacements
    #[arg(short, long)]
    pub yes: bool,
    /// Wait this long for another run to end, such as 5m [default: do not wait]
    #[arg(long, value_name = "DURATION")]
    pub wait_lock: Option<humantime::Duration>,
    /// Insist on a jump between versions that a step would refuse (see `meshrun upgrade-path`)
    #[arg(long)]
    pub allow_skip: bool,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Which steps.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Form of the plan
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    pub output: PlanFormat,
    /// End with 0 where nothing would change and 2 where something would
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Also list the objects that are as they should be
    #[arg(short, long)]
    pub verbose: bool,
    /// Plan a jump between versions that a step would refuse (see `meshrun upgrade-path`)
    #[arg(long)]
    pub allow_skip: bool,
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
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// How it is reported.
    #[command(flatten)]
    pub report: ReportArgs,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Form of the plan that --dry-run shows
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    pub output: PlanFormat,
    /// Also delete the CRDs, and with them every object of their kinds
    #[arg(long)]
    pub crds: bool,
    /// Back up the objects that people made with these CRDs to this file
    #[arg(long, value_name = "FILE", conflicts_with = "no_backup")]
    pub backup: Option<PathBuf>,
    /// Do without the backup
    #[arg(long)]
    pub no_backup: bool,
    /// Wait this long for another run to end, such as 5m [default: do not wait]
    #[arg(long, value_name = "DURATION")]
    pub wait_lock: Option<humantime::Duration>,
}

/// `rehearse`.
#[derive(Debug, Args)]
pub struct RehearseArgs {
    /// Which pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// How it is reported.
    #[command(flatten)]
    pub report: ReportArgs,
    /// Kubernetes version to rehearse for
    #[arg(long, value_name = "VERSION", default_value = "v1.34.0")]
    pub kubernetes: String,
}

/// `graph`.
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// Which pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Form of the drawing
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    pub output: GraphFormat,
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
    /// Show what a plugin does, takes and gives
    Inspect {
        /// Name, or path of a library (with a `/` in it).
        #[arg(value_name = "PLUGIN")]
        plugin: String,
        /// Print its description as JSON, configuration schema included
        #[arg(long)]
        json: bool,
    },
}

/// `upgrade-path`.
#[derive(Debug, Args)]
pub struct UpgradePathArgs {
    /// The plugin to ask: a name, or the path of a library (with a `/` in it)
    #[arg(value_name = "PLUGIN", default_value = "istiod")]
    pub plugin: String,
    /// Version that is installed
    #[arg(long, value_name = "VERSION")]
    pub from: String,
    /// Version that is wanted
    #[arg(long, value_name = "VERSION")]
    pub to: String,
    /// Kubernetes version of the cluster
    #[arg(long, value_name = "VERSION")]
    pub kubernetes: Option<String>,
    /// Form of the path
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
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

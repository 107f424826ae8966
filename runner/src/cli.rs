//! The command line: types only; `meshrun PIPELINE` is `meshrun run PIPELINE`.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{
    Args, CommandFactory, Parser, Subcommand, ValueEnum,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    exit_code::ExitCode,
    report::{Color, Format},
};

const EXAMPLES: &str = "\
Examples:
  meshrun rehearse pipelines/demo.yaml   try it out: needs helm, but no cluster
  meshrun plan pipelines/prod.yaml       see what would change in your cluster
  meshrun pipelines/prod.yaml            roll it out, or go on after a failure";

/// Rolls out a service mesh on Kubernetes, step by step, as a pipeline file says
#[derive(Debug, Parser)]
#[command(
    name = "meshrun",
    version,
    arg_required_else_help = true,
    override_usage = "meshrun [OPTIONS] PIPELINE      (short for `meshrun run PIPELINE`)\n       meshrun [OPTIONS] COMMAND ...",
    after_help = after_help(),
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
        // A word in front that is neither is a misspelt command.
        let begins_well = args
            .get(1)
            .is_some_and(|arg| is_pipeline(Path::new(arg)) || arg.as_encoded_bytes().starts_with(b"-"));
        let mut args = args;
        if names_file && begins_well && !names_command {
            args.insert(1, "run".into());
        }
        Self::try_parse_from(args).map_err(explained)
    }
}

/// Adds what people who come from other tools need to hear.
fn explained(mut error: clap::Error) -> clap::Error {
    let invalid = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.as_str(),
        _ => "",
    };
    let tip = match error.kind() {
        ErrorKind::InvalidSubcommand if error.get(ContextKind::SuggestedSubcommand).is_none() => {
            "a pipeline file ends in `.yaml` or `.yml`, or has a `/` in its path"
        }
        ErrorKind::UnknownArgument if invalid == "--dry-run" => {
            "`meshrun plan` shows what a run would change, `meshrun rehearse` needs no cluster at all"
        }
        _ => return error,
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}

fn after_help() -> String {
    let codes: Vec<_> =
        ExitCode::TABLE.iter().map(|(code, _)| format!("{}\u{a0}{code:?}", *code as u8)).collect();
    format!("{EXAMPLES}\n\nExit codes (docs/exit-codes.md): {}", codes.join(", "))
}

/// Whether an argument can only be a pipeline file: no command is spelled like one.
fn is_pipeline(path: &Path) -> bool {
    let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    yaml || path.components().count() > 1
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Roll out: plan, apply, wait for and check every step
    Run(RunArgs),
    /// Show what a run would change, and change nothing
    Plan(PlanArgs),
    /// Check a pipeline and its configuration, without a cluster
    Validate(PipelineArgs),
    /// Show what a pipeline has made, in what state it is, and who is at work on it
    Status(StatusArgs),
    /// Take away everything that a pipeline made, and report what is left
    Destroy(DestroyArgs),
    /// Try a pipeline on a cluster in memory: real plugins, real charts
    Rehearse(RehearseArgs),
    /// Draw the steps of a pipeline and what they need
    Graph(GraphArgs),
    /// List the plugins, or show what one does and takes
    #[command(subcommand, disable_help_subcommand = true)]
    Plugins(PluginsCommand),
    /// Show the versions to go through from one version to another
    UpgradePath(UpgradePathArgs),
    /// Print the JSON Schema of pipeline files, for editors
    Schema,
    /// Copy the charts of a pipeline and pin their digests
    Vendor(VendorArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

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

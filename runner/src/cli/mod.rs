//! The command line: types only; `meshrun PIPELINE` is `meshrun run PIPELINE`.

mod commands;
mod shared;

use std::{ffi::OsString, path::Path};

use clap::{
    CommandFactory, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::exit_code::ExitCode;

pub use commands::{
    DestroyArgs, GraphArgs, GraphFormat, PathFormat, PlanArgs, PlanFormat, PluginsCommand, RehearseArgs,
    RunArgs, StatusArgs, StatusFormat, UpgradePathArgs, VendorArgs,
};
pub use shared::{ClusterArgs, GlobalArgs, LogFormat, PipelineArgs, ReportArgs, SelectionArgs};

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
    /// Try a pipeline on a cluster in memory: real plugins, real charts
    Rehearse(RehearseArgs),
    /// Show what a pipeline has made and in what state it is
    Status(StatusArgs),
    /// Remove all that a pipeline made, and report what is left
    Destroy(DestroyArgs),
    /// Draw the steps of a pipeline and what they need
    Graph(GraphArgs),
    /// List the plugins, or show what one does and takes
    #[command(subcommand, disable_help_subcommand = true)]
    Plugins(PluginsCommand),
    /// Show which versions an upgrade has to go through
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

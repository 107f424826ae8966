//! The story: command line -> pipeline -> plugins -> plan -> run -> report, and one place that prints what went wrong.

mod consent;
mod destroy;
mod error;
mod graph;
mod log;
mod plan;
mod plan_file;
mod plugins;
mod rehearse;
mod reporting;
mod run;
mod schema;
mod setup;
mod status;
mod upgrade_path;
mod validate;
mod vendor;

use clap::CommandFactory;

use crate::{
    cli::{Cli, Command, GlobalArgs},
    event::Problem,
    exit_code::ExitCode,
    report::{self, Options, Surroundings},
};
pub use error::AppError;

/// Parses the command line, does what it says and returns how it ended.
pub fn main() -> ExitCode {
    let cli = match Cli::parse_from_args(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors; clap knows which stream each belongs to.
            let code = if error.use_stderr() { ExitCode::Usage } else { ExitCode::Success };
            let _ = error.print();
            return code;
        }
    };
    if let Err(message) = log::start(&cli.global) {
        return fail(&cli.global, &AppError::usage(message));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail(&cli.global, &AppError::internal(format!("start the async runtime: {error}")));
        }
    };
    let Cli { command, global } = cli;
    let result = runtime.block_on(dispatch(command, &global));
    // A plugin or a port-forward that hangs must not hold up the end.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) => fail(&global, &error),
    }
}

async fn dispatch(command: Command, global: &GlobalArgs) -> Result<ExitCode, AppError> {
    match command {
        Command::Run(args) => run::run(global, args).await,
        Command::Plan(args) => plan::run(global, args).await,
        Command::Validate(args) => validate::run(global, args).await,
        Command::Status(args) => status::run(global, args).await,
        Command::Destroy(args) => destroy::run(global, args).await,
        Command::Rehearse(args) => rehearse::run(global, args).await,
        Command::Graph(args) => graph::run(global, args),
        Command::Plugins(command) => plugins::run(global, command).await,
        Command::UpgradePath(args) => upgrade_path::run(global, args).await,
        Command::Schema => schema::run(global).await,
        Command::Vendor(args) => vendor::run(global, args).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "meshrun", &mut script);
            report::print(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::Success)
        }
    }
}

fn fail(global: &GlobalArgs, error: &AppError) -> ExitCode {
    let options =
        Options { color: global.color, surroundings: Surroundings::detect_error(), ..Options::default() };
    match &error.findings {
        // Findings bring their own place and source line.
        Some(findings) => report::print_findings(findings, &options.style()),
        None => report::print_error(
            &Problem { message: error.message.clone(), hint: error.hint.clone() },
            &options.style(),
        ),
    }
    error.code
}

//! Structured logs to standard error, as `--log` says.

use tracing_subscriber::EnvFilter;

use crate::{
    cli::{GlobalArgs, LogFormat},
    report::{Options, Surroundings},
};

/// What is logged unless somebody asks for more: our own errors. What a library logs before it returns its error is
/// told in the error.
const DEFAULT: &str = "meshrun=error";

/// Starts logging.
///
/// # Errors
/// What is wrong with the filter.
pub(super) fn start(global: &GlobalArgs) -> Result<(), String> {
    let from_env = || std::env::var("MESHRUN_LOG").ok().filter(|level| !level.is_empty());
    let wanted = global.log.clone().or_else(from_env).unwrap_or_else(|| DEFAULT.into());
    let filter = EnvFilter::try_new(&wanted).map_err(|error| format!("--log `{wanted}`: {error}"))?;
    let options =
        Options { color: global.color, surroundings: Surroundings::detect_error(), ..Options::default() };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(options.style().color)
        .with_writer(std::io::stderr);
    match global.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

//! Structured logs to standard error, as `--log` says.

use tracing_subscriber::EnvFilter;

use crate::cli::{GlobalArgs, LogFormat};

/// Starts logging.
///
/// # Errors
/// What is wrong with the filter.
pub(super) fn start(global: &GlobalArgs) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(&global.log).map_err(|error| format!("--log `{}`: {error}", global.log))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match global.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

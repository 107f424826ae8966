//! `meshrun schema`: the JSON Schema of pipeline files, with the configuration of every plugin that is found.

use super::{AppError, plugins::load_all};
use crate::{
    cli::GlobalArgs,
    exit_code::ExitCode,
    report,
    spec::{self, PluginSchema},
};

pub(super) async fn run(global: &GlobalArgs) -> Result<ExitCode, AppError> {
    let plugins = load_all(global).await?;
    let known: Vec<_> = plugins
        .iter()
        .map(|plugin| {
            let description = plugin.description();
            PluginSchema {
                name: &description.name,
                summary: &description.summary,
                config: &description.config_schema,
            }
        })
        .collect();
    let schema = spec::schema(&known);
    let text =
        serde_json::to_string_pretty(&schema).map_err(|error| AppError::internal(error.to_string()))?;
    report::print(&text)?;
    Ok(ExitCode::Success)
}

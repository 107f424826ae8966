//! `meshrun plugins`: which plugins there are, and what one of them does, takes and gives.

use std::path::Path;

use futures::future::join_all;

use super::{AppError, reporting::style, setup::loader};
use crate::{
    cli::{GlobalArgs, PluginsCommand},
    exit_code::ExitCode,
    plugin::{Plugin, Wanted},
    report,
};

pub(super) async fn run(global: &GlobalArgs, command: PluginsCommand) -> Result<ExitCode, AppError> {
    match command {
        PluginsCommand::List => list(global).await,
        PluginsCommand::Inspect { plugin, json } => inspect(global, &plugin, json).await,
    }
}

/// Loads every plugin that is found by its name.
pub(super) async fn load_all(global: &GlobalArgs) -> Result<Vec<Plugin>, AppError> {
    let mut plugins = Vec::new();
    for loaded in try_all(global).await {
        plugins.push(loaded.1?);
    }
    Ok(plugins)
}

async fn try_all(global: &GlobalArgs) -> Vec<(String, Result<Plugin, AppError>)> {
    let loader = loader(global);
    let names = loader.search().names();
    join_all(names.into_iter().map(|name| {
        let loader = loader.clone();
        async move {
            let wanted = Wanted { uses: &name, file: None, base: Path::new("."), pin: None };
            let plugin = loader.load(wanted).await.map_err(AppError::from);
            (name, plugin)
        }
    }))
    .await
}

async fn list(global: &GlobalArgs) -> Result<ExitCode, AppError> {
    let found = try_all(global).await;
    if found.is_empty() {
        return Err(AppError::new(ExitCode::BadInput, "no plugins were found".into())
            .hint("name their directory with --plugins or MESHRUN_PLUGINS"));
    }
    let width = found.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let style = style(global, false);
    let mut code = ExitCode::Success;
    for (name, plugin) in found {
        let line = match plugin {
            Ok(plugin) => {
                let description = plugin.description();
                let (provides, requires) = (names(&description.provides), names(&description.requires));
                let told =
                    format!("{}\nprovides {provides}; requires {requires}", sentence(&description.summary));
                style.hang(&format!("{name:width$}  {:8}  ", description.version), &told)
            }
            Err(error) => {
                // One broken file must not hide the others.
                code = error.code;
                style.hang(&format!("{name:width$}  unusable  "), &error.message)
            }
        };
        report::print(&line)?;
    }
    Ok(code)
}

async fn inspect(global: &GlobalArgs, name: &str, json: bool) -> Result<ExitCode, AppError> {
    let wanted = Wanted { uses: name, file: None, base: Path::new("."), pin: None };
    let plugin = loader(global).load(wanted).await?;
    let description = plugin.description();
    if json {
        let text = serde_json::to_string_pretty(description)
            .map_err(|error| AppError::internal(error.to_string()))?;
        report::print(&text)?;
        return Ok(ExitCode::Success);
    }
    let mut text =
        format!("{} {}: {}\n\n", description.name, description.version, sentence(&description.summary));
    let mut row = |key: &str, value: &str| text.push_str(&format!("{key:10} {value}\n"));
    row("file", &plugin.path().display().to_string());
    row("digest", &plugin.digest().to_string());
    row("sdk", &format!("{} (protocol {})", description.sdk, description.protocol));
    row("provides", &names(&description.provides));
    row("requires", &names(&description.requires));
    text.push_str("\nwith:\n");
    text.push_str(&crate::spec::outline(&description.config_schema));
    if !description.outputs.is_empty() {
        text.push_str("\noutputs:\n");
        for output in &description.outputs {
            text.push_str(&format!("  {}  {}\n", output.name, sentence(&output.description)));
        }
    }
    report::print(&text)?;
    Ok(ExitCode::Success)
}

/// A text as all of them are shown, whether its author ended it with a period or not.
fn sentence(text: &str) -> &str {
    text.trim_end().trim_end_matches('.')
}

fn names(names: &[String]) -> String {
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}

//! `meshrun upgrade-path`: the versions to go through, as the plugin that knows them says.

use std::path::Path;

use meshrun_protocol::{Diagnostic, Severity, UpgradeRequest, UpgradeResponse, method};
use serde_json::json;

use super::{AppError, reporting::style, setup::loader};
use crate::{
    cli::{GlobalArgs, PathFormat, UpgradePathArgs},
    exit_code::ExitCode,
    plugin::{Limits, Wanted},
    report,
    text::{Style, Tone, counted},
};

pub(super) async fn run(global: &GlobalArgs, args: UpgradePathArgs) -> Result<ExitCode, AppError> {
    let wanted = Wanted { uses: &args.plugin, file: None, base: Path::new("."), pin: None };
    let plugin = loader(global).load(wanted).await?;
    if !plugin.description().methods.iter().any(|offered| offered == method::UPGRADE) {
        let message = format!("plugin `{}` knows no upgrade path", plugin.name());
        return Err(AppError::new(ExitCode::BadInput, message).hint("ask one that does, such as `istiod`"));
    }
    let request = UpgradeRequest {
        from: args.from.clone(),
        to: args.to.clone(),
        kubernetes_version: args.kubernetes.clone(),
    };
    let path = plugin.start().upgrade(&request, &Limits::default()).await?;
    let refused = path.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    let answer = match args.output {
        PathFormat::Text => text(plugin.name(), &request, &path, &style(global, false)),
        PathFormat::Json => json(plugin.name(), &request, &path)?,
    };
    match (refused, args.output) {
        (false, _) => report::print(&answer)?,
        (true, PathFormat::Json) => {
            report::print(&answer)?;
            return Ok(ExitCode::BadInput);
        }
        (true, PathFormat::Text) => {
            let error = AppError::new(ExitCode::BadInput, "there is no such upgrade path".into());
            return Err(AppError { findings: Some(answer), ..error });
        }
    }
    Ok(ExitCode::Success)
}

fn json(plugin: &str, request: &UpgradeRequest, path: &UpgradeResponse) -> Result<String, AppError> {
    let document = json!({
        "plugin": plugin, "from": request.from, "to": request.to,
        "hops": path.hops, "routine": path.routine, "diagnostics": path.diagnostics,
    });
    serde_json::to_string_pretty(&document).map_err(|error| AppError::internal(error.to_string()))
}

fn text(plugin: &str, request: &UpgradeRequest, path: &UpgradeResponse, style: &Style) -> String {
    let mut parts = Vec::new();
    if !path.hops.is_empty() {
        let hops = counted(path.hops.len(), "hop");
        let way = style.paint(Tone::Name, format!("{plugin} {} to {}", request.from, request.to));
        parts.push(format!("{way}: {hops}\n{}", hops_text(path, style)));
    }
    if !path.routine.is_empty() && !path.hops.is_empty() {
        let steps: Vec<String> = path
            .routine
            .iter()
            .enumerate()
            .map(|(index, step)| {
                style.hang(&format!("  {}. ", index + 1), &step.replace("{version}", "VERSION"))
            })
            .collect();
        parts.push(format!("At each hop:\n{}", steps.join("\n")));
    }
    parts.extend(path.diagnostics.iter().map(|diagnostic| finding(diagnostic, style)));
    parts.join("\n\n")
}

fn hops_text(path: &UpgradeResponse, style: &Style) -> String {
    let number = path.hops.len().to_string().len();
    let version = path.hops.iter().map(|hop| hop.version.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (index, hop) in path.hops.iter().enumerate() {
        let kubernetes =
            hop.kubernetes.as_ref().map(|range| format!("  Kubernetes {range}")).unwrap_or_default();
        let line = format!("  {:>number$}. {:version$}{kubernetes}", index + 1, hop.version);
        lines.push(line.trim_end().to_owned());
        let indent = format!("  {:number$}  - ", "");
        lines.extend(hop.notes.iter().map(|note| style.hang(&indent, note)));
    }
    lines.join("\n")
}

/// A finding; its place is the option that it speaks of.
fn finding(diagnostic: &Diagnostic, style: &Style) -> String {
    let option = match diagnostic.path.as_str() {
        "/from" => Some("--from"),
        "/to" => Some("--to"),
        "/kubernetes_version" => Some("--kubernetes"),
        _ => None,
    };
    style.diagnostic(None, diagnostic, option)
}

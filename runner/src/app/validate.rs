//! `meshrun validate`: the file, its plugins and their configuration, without a cluster.

use futures::future::try_join_all;
use meshrun_protocol::{LintRequest, Severity};

use super::{
    AppError,
    reporting::style,
    setup::{Prepared, prepare},
};
use crate::{
    cli::{GlobalArgs, PipelineArgs},
    exit_code::ExitCode,
    plugin::Limits,
    report,
    spec::{self, Finding},
    text::counted,
};

pub(super) async fn run(global: &GlobalArgs, args: PipelineArgs) -> Result<ExitCode, AppError> {
    let prepared = prepare(global, &args).await?;
    let (mut findings, later) = lint(&prepared).await?;
    findings.extend(prepared.pipeline.warnings.iter().cloned());
    let findings = spec::settle(findings)?;
    let style = style(global, false);
    for finding in &findings {
        report::print(&format!("{}\n\n", report::findings_text(&finding.to_string(), &style)))?;
    }
    let steps = prepared.pipeline.steps.len();
    let file = args.pipeline.display();
    let warnings = findings.iter().filter(|finding| finding.severity == Severity::Warning).count();
    let mut summary = format!("{file} is valid: {}", counted(steps, "step"));
    if warnings > 0 {
        summary.push_str(&format!(", {}", counted(warnings, "warning")));
    }
    if !later.is_empty() {
        summary.push_str(&format!("; checked only when their needs have run: {}", later.join(", ")));
    }
    report::print(&style.hang("", &summary))?;
    Ok(ExitCode::Success)
}

/// Asks each step's plugin about its configuration. Returns the findings, and the steps whose configuration is not
/// known before others have run.
async fn lint(prepared: &Prepared) -> Result<(Vec<Finding>, Vec<String>), AppError> {
    let scope = prepared.pipeline.scope();
    let mut questions = Vec::new();
    let mut later = Vec::new();
    for step in &prepared.pipeline.steps {
        let evaluated = spec::evaluate(step, &scope)?;
        match (evaluated.unknown.is_empty(), prepared.plugins.get(&step.id)) {
            (true, Some(plugin)) => questions.push((step, plugin, evaluated.with)),
            _ => later.push(step.id.to_string()),
        }
    }
    let answers = try_join_all(questions.into_iter().map(|(step, plugin, config)| async move {
        let request = LintRequest { step: step.id.as_str().to_owned(), config };
        let answer = plugin.start().lint(&request, &Limits::default()).await?;
        let findings: Vec<Finding> =
            answer.diagnostics.iter().map(|diagnostic| step.finding(diagnostic)).collect();
        Ok::<_, AppError>(findings)
    }))
    .await?;
    Ok((answers.into_iter().flatten().collect(), later))
}

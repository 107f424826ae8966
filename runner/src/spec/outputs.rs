//! Outputs that expressions read and the plugin of the step does not give: said by name before anything runs.

use super::{
    compile::{self, Piece},
    expr::{Expression, StepField},
    finding::Finding,
    node::{Kind, Node},
    pipeline::{Pipeline, Step},
    source::Span,
    suggest::did_you_mean,
};
use crate::ids::StepId;

/// Checks every `steps.ID.outputs.NAME` against `of`, the names of the outputs that a step's plugin describes; a step of
/// which it says nothing may have any.
pub fn validate_outputs<'a>(
    pipeline: &Pipeline,
    of: impl Fn(&StepId) -> Option<Vec<&'a str>>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for step in &pipeline.steps {
        for (expression, span) in expressions(step) {
            for reference in expression.references.iter().filter(|reference| !reference.tested) {
                let Some((id, StepField::Output(name))) = reference.step() else { continue };
                let Some(other) = pipeline.step(id) else { continue };
                let Some(names) = of(&other.id).filter(|names| !names.contains(&name)) else { continue };
                // `has(...) ? ... : ...` is how one asks for what may not be there.
                if expression.references.iter().any(|asked| asked.tested && asked.path == reference.path) {
                    continue;
                }
                let place = span.part(reference.at, reference.length);
                let hint = if names.is_empty() {
                    Some(format!("`{}` has no outputs", other.uses))
                } else {
                    did_you_mean(name, names)
                };
                let message = format!("step `{id}` has no output `{name}`");
                findings.push(Finding::error(&place, message).hint(hint));
            }
        }
    }
    findings
}

/// The expressions of a step that can be parsed; what cannot be has been told when the pipeline was loaded.
fn expressions(step: &Step) -> Vec<(Expression, Span)> {
    let mut found = Vec::new();
    if let (Some(source), Some(span)) = (&step.condition, &step.source.condition)
        && let Ok(expression) = compile::expression(source, span)
    {
        found.push((expression, span.clone()));
    }
    if let Some(with) = &step.source.with {
        collect(with, &mut found);
    }
    found
}

fn collect(node: &Node, found: &mut Vec<(Expression, Span)>) {
    match &node.kind {
        Kind::Scalar(serde_json::Value::String(text)) => {
            for piece in compile::text(text, &node.span).unwrap_or_default() {
                if let Piece::Expression(expression, span) = piece {
                    found.push((expression, span));
                }
            }
        }
        Kind::Scalar(_) => {}
        Kind::Seq(items) => items.iter().for_each(|item| collect(item, found)),
        Kind::Map(entries) => entries.iter().for_each(|entry| collect(&entry.value, found)),
    }
}

//! What expressions can read, and the evaluation of a step's configuration and condition.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    compile::{self, Piece},
    expr::{Expression, STATUS, StepField},
    finding::{Finding, SpecError, settle},
    node::{self, Kind, Node},
    pipeline::Step,
    source::Span,
    suggest::did_you_mean,
    template,
};
use crate::ids::StepId;

/// What expressions can read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    /// `vars.NAME`.
    pub vars: Map<String, Value>,
    /// `matrix.NAME`: the chosen combination.
    pub matrix: Map<String, Value>,
    /// `env.NAME`.
    pub env: BTreeMap<String, String>,
    /// `steps.ID`: results so far; a step that is not here has not run.
    pub steps: BTreeMap<StepId, StepResult>,
}

/// What is known of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepResult {
    /// How it ended; `None` before it has.
    pub outcome: Option<Outcome>,
    /// Whether its failure counts as success (`continue-on-error`).
    pub tolerated: bool,
    /// Its outputs; before it has ended, those that the plan knows already.
    pub outputs: Map<String, Value>,
    /// Whether it takes no part in this run: what it puts out is then of a run before.
    pub left_out: bool,
}

/// How a step ended, in the words of GitHub Actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It did what it should.
    Success,
    /// It did not.
    Failure,
    /// It was stopped.
    Cancelled,
    /// It was left out.
    Skipped,
}

impl StepResult {
    /// The outcome as the steps after it see it.
    pub fn conclusion(&self) -> Option<Outcome> {
        match self.outcome {
            Some(Outcome::Failure) if self.tolerated => Some(Outcome::Success),
            outcome => outcome,
        }
    }
}

/// A step's configuration as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// The configuration; a string whose expressions are not known yet still holds them.
    pub with: Value,
    /// Steps that must run before the rest is known, sorted.
    pub unknown: Vec<StepId>,
}

/// Evaluates the expressions in a step's configuration.
///
/// # Errors
/// Expressions that cannot be computed, and outputs that a finished step does not have.
pub fn evaluate(step: &Step, scope: &Scope) -> Result<Evaluated, SpecError> {
    let mut resolver = Resolver::new(scope);
    let with = step.source.with.as_ref().map_or_else(|| json!({}), |with| resolver.resolve(with));
    let Resolver { unknown, findings, .. } = resolver;
    settle(findings)?;
    Ok(Evaluated { with, unknown: unknown.into_iter().collect() })
}

/// Says whether a step is to run; `None` where that depends on a step that has not run.
///
/// Without a status function, `if: X` means `success() && (X)`. A step that has not run counts as not failed.
///
/// # Errors
/// A condition that cannot be computed or is not a boolean.
pub fn condition(step: &Step, scope: &Scope) -> Result<Option<bool>, SpecError> {
    let conclusions = || step.ancestors.iter().filter_map(|id| scope.steps.get(id)?.conclusion());
    let failure = conclusions().any(|conclusion| conclusion == Outcome::Failure);
    let success = !failure && conclusions().all(|conclusion| conclusion != Outcome::Cancelled);
    let (Some(source), Some(span)) = (&step.condition, &step.source.condition) else {
        return Ok(Some(success));
    };
    let expression = compile::expression(source, span)?;
    let asks = STATUS.iter().any(|name| expression.functions.contains(*name));
    if !asks && !success {
        return Ok(Some(false));
    }
    let mut resolver = Resolver::new(scope);
    match resolver.expression(&expression, span, Some([success, failure, true])) {
        Some(Value::Bool(holds)) => Ok(Some(holds)),
        Some(other) => {
            let message = format!("`if` must be true or false, not {}", node::describe(&other));
            Err(Finding::error(span, message).hint("compare it: `... == '...'`".to_owned()).into())
        }
        None => settle(resolver.findings).map(|_| None),
    }
}

/// Evaluates expressions of a document against a scope.
pub(super) struct Resolver<'s> {
    scope: &'s Scope,
    unknown: BTreeSet<StepId>,
    pub(super) findings: Vec<Finding>,
}

impl<'s> Resolver<'s> {
    pub(super) fn new(scope: &'s Scope) -> Self {
        Self { scope, unknown: BTreeSet::new(), findings: Vec::new() }
    }

    /// The JSON of a value, with expressions evaluated.
    pub(super) fn resolve(&mut self, node: &Node) -> Value {
        match &node.kind {
            Kind::Scalar(Value::String(text)) if template::has_expression(text) => {
                self.text(text, &node.span).unwrap_or_else(|| Value::String(text.clone()))
            }
            Kind::Scalar(value) => value.clone(),
            Kind::Seq(items) => Value::Array(items.iter().map(|item| self.resolve(item)).collect()),
            Kind::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), self.resolve(&entry.value)));
                Value::Object(pairs.collect())
            }
        }
    }

    fn text(&mut self, text: &str, span: &Span) -> Option<Value> {
        let pieces = match compile::text(text, span) {
            Ok(pieces) => pieces,
            Err(finding) => {
                self.findings.push(*finding);
                return None;
            }
        };
        if let [Piece::Expression(expression, inside)] = pieces.as_slice() {
            return self.expression(expression, inside, None);
        }
        let mut whole = String::new();
        let mut known = true;
        for piece in &pieces {
            match piece {
                Piece::Text(text) => whole.push_str(text),
                Piece::Expression(expression, inside) => match self.expression(expression, inside, None) {
                    Some(Value::String(text)) => whole.push_str(&text),
                    Some(Value::Null) => {}
                    Some(Value::Array(_) | Value::Object(_)) => {
                        let message = "a list or a map inside of a text";
                        let hint = "let the expression be the whole value".to_owned();
                        self.findings.push(Finding::error(&compile::trimmed(inside), message).hint(hint));
                    }
                    Some(scalar) => whole.push_str(&scalar.to_string()),
                    None => known = false,
                },
            }
        }
        known.then_some(Value::String(whole))
    }

    /// The value of an expression; `None` where it is not known yet or cannot be computed.
    fn expression(
        &mut self,
        expression: &Expression,
        span: &Span,
        status: Option<[bool; 3]>,
    ) -> Option<Value> {
        let unknown = self.unknown_steps(expression);
        if !unknown.is_empty() {
            self.unknown.extend(unknown);
            return None;
        }
        let steps: Map<_, _> =
            self.scope.steps.iter().map(|(id, result)| (id.to_string(), see(result))).collect();
        let roots = [
            ("vars", Value::Object(self.scope.vars.clone())),
            ("matrix", Value::Object(self.scope.matrix.clone())),
            ("env", json!(self.scope.env)),
            ("steps", Value::Object(steps)),
        ];
        match expression.evaluate(roots, status) {
            Ok(value) => Some(value),
            Err(message) => {
                let finding = self.missing_output(expression, span).unwrap_or_else(|| {
                    Finding::error(&compile::trimmed(span), format!("cannot evaluate: {message}"))
                });
                self.findings.push(finding);
                None
            }
        }
    }

    fn unknown_steps(&self, expression: &Expression) -> Vec<StepId> {
        let unknown = |(id, field): &(&str, StepField<'_>)| {
            let result = self.scope.steps.get(*id);
            let ended = result.is_some_and(|result| result.outcome.is_some());
            let planned = |name: &str| result.is_some_and(|result| result.outputs.contains_key(name));
            !ended && !matches!(field, StepField::Output(name) if planned(name))
        };
        let steps = expression.references.iter().filter_map(|reference| reference.step());
        steps.filter(unknown).map(|(id, _)| StepId::new(id)).collect()
    }

    fn missing_output(&self, expression: &Expression, span: &Span) -> Option<Finding> {
        expression.references.iter().filter(|reference| !reference.tested).find_map(|reference| {
            let (id, StepField::Output(name)) = reference.step()? else { return None };
            let result = self.scope.steps.get(id)?;
            if result.outputs.contains_key(name) {
                return None;
            }
            let finding = Finding::error(
                &span.part(reference.at, reference.length),
                match result.outcome {
                    Some(Outcome::Success) | None => format!("step `{id}` has no output `{name}`"),
                    Some(_) => format!("step `{id}` did not succeed, so it has no output `{name}`"),
                },
            );
            Some(finding.hint(match result.outcome {
                Some(Outcome::Success) | None => {
                    did_you_mean(name, result.outputs.keys().map(String::as_str))
                }
                Some(_) => Some(format!("ask first: `has(steps['{id}'].outputs.{name}) ? ... : ...`")),
            }))
        })
    }
}

/// A step's result as expressions see it.
fn see(result: &StepResult) -> Value {
    let mut seen = Map::new();
    if let (Some(outcome), Some(conclusion)) = (result.outcome, result.conclusion()) {
        seen.insert("outcome".into(), json!(outcome));
        seen.insert("conclusion".into(), json!(conclusion));
    }
    seen.insert("outputs".into(), Value::Object(result.outputs.clone()));
    Value::Object(seen)
}

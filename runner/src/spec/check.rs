//! What expressions may refer to: checked when the pipeline is loaded, not when a step is about to run.

use std::collections::BTreeSet;

use super::{
    compile::{self, Piece},
    expr::{self, Expression, ROOTS, Reference, STATUS, StepField},
    finding::Finding,
    node::{Kind, Node},
    pipeline::{Pipeline, Step},
    scope::{self, Scope},
    source::Span,
    suggest::did_you_mean,
    template,
};

/// Checks the expressions of all steps, and evaluates those that depend on no step.
pub(super) fn steps(pipeline: &Pipeline, findings: &mut Vec<Finding>) {
    let scope = pipeline.scope();
    for step in &pipeline.steps {
        let mut checker =
            Checker { scope: &scope, steps: Some((pipeline, step)), off: false, findings: Vec::new() };
        checker.condition(step);
        if checker.findings.is_empty() {
            match scope::condition(step, &scope) {
                Ok(holds) => checker.off = holds == Some(false),
                Err(error) => checker.findings.extend(error.findings),
            }
        }
        let before = checker.findings.len();
        if let Some(with) = &step.source.with {
            checker.document(with);
        }
        if checker.findings.len() == before && !checker.off {
            let evaluated = scope::evaluate(step, &scope);
            checker.findings.extend(evaluated.err().into_iter().flat_map(|error| error.findings));
        }
        findings.extend(checker.findings);
    }
}

/// Checks the expressions of a value outside of the steps; they cannot refer to steps.
pub(super) fn static_value(node: &Node, scope: &Scope) -> Vec<Finding> {
    let mut checker = Checker { scope, steps: None, off: false, findings: Vec::new() };
    checker.document(node);
    checker.findings
}

struct Checker<'p> {
    scope: &'p Scope,
    steps: Option<(&'p Pipeline, &'p Step)>,
    /// The step is switched off, so it may lack what only the environment can give.
    off: bool,
    findings: Vec<Finding>,
}

impl Checker<'_> {
    fn condition(&mut self, step: &Step) {
        if let (Some(source), Some(span)) = (&step.condition, &step.source.condition) {
            match compile::expression(source, span) {
                Ok(expression) => self.expression(&expression, source, span, true),
                Err(finding) => self.findings.push(*finding),
            }
        }
    }

    fn document(&mut self, node: &Node) {
        match &node.kind {
            Kind::Scalar(serde_json::Value::String(text)) if template::has_expression(text) => {
                match compile::text(text, &node.span) {
                    Ok(pieces) => pieces.iter().for_each(|piece| {
                        if let Piece::Expression(expression, span) = piece {
                            self.expression(expression, span.text(), span, false);
                        }
                    }),
                    Err(finding) => self.findings.push(*finding),
                }
            }
            Kind::Scalar(_) => {}
            Kind::Seq(items) => items.iter().for_each(|item| self.document(item)),
            Kind::Map(entries) => {
                for entry in entries {
                    if template::has_expression(&entry.key) {
                        self.findings.push(Finding::error(&entry.at, "a key cannot be an expression"));
                    }
                    self.document(&entry.value);
                }
            }
        }
    }

    fn expression(&mut self, expression: &Expression, source: &str, span: &Span, is_condition: bool) {
        for name in &expression.functions {
            let place = compile::trimmed(&span.find(&format!("{name}(")));
            if STATUS.contains(&name.as_str()) && !is_condition {
                let message = format!("`{name}()` is for `if:` only");
                self.findings.push(Finding::error(&place, message));
            } else if !expr::is_function(name) {
                let known = STATUS.into_iter().chain(FUNCTIONS);
                let closest =
                    super::suggest::closest(name, known).map(|name| format!("did you mean `{name}`?"));
                self.findings
                    .push(Finding::error(&place, format!("there is no function `{name}`")).hint(closest));
            }
        }
        let minus = minus(expression, source);
        if let Some((at, word)) = minus {
            self.findings.push(
                Finding::error(&span.part(at, word.len()), format!("`-` in `{word}` is read as minus"))
                    .hint(format!("write `{}`", bracketed(word))),
            );
            return;
        }
        let tested: BTreeSet<_> = expression
            .references
            .iter()
            .filter(|reference| reference.tested)
            .map(|tested| &tested.path)
            .collect();
        for reference in &expression.references {
            // `has(env.X) ? env.X : ...` is how one asks for what may not be there.
            let optional = tested.contains(&reference.path);
            self.reference(reference, optional, &span.part(reference.at, reference.length));
        }
    }

    fn reference(&mut self, reference: &Reference, optional: bool, span: &Span) {
        let (root, rest) = match reference.path.split_first() {
            Some((root, rest)) => (root.as_str(), rest),
            None => return,
        };
        match (root, rest.first()) {
            ("steps", _) => self.step(reference, span),
            (root, _) if !ROOTS.contains(&root) => {
                self.findings.push(
                    Finding::error(span, format!("there is no `{root}` in expressions"))
                        .hint(did_you_mean(root, ROOTS)),
                );
            }
            (_, None) => {}
            _ if optional => {}
            ("env", _) if self.off => {}
            ("env", Some(name)) if !self.scope.env.contains_key(name) => {
                self.findings.push(
                    Finding::error(span, format!("the environment variable `{name}` is not set"))
                        .hint(format!("set it, or write `has(env.{name}) ? env.{name} : ...`")),
                );
            }
            ("vars", Some(name)) => self.known(span, "var", name, &self.scope.vars),
            ("matrix", Some(name)) => self.known(span, "matrix value", name, &self.scope.matrix),
            _ => {}
        }
    }

    fn known(
        &mut self,
        span: &Span,
        what: &str,
        name: &str,
        values: &serde_json::Map<String, serde_json::Value>,
    ) {
        if !values.contains_key(name) {
            self.findings.push(
                Finding::error(span, format!("there is no {what} `{name}`"))
                    .hint(did_you_mean(name, values.keys().map(String::as_str))),
            );
        }
    }

    fn step(&mut self, reference: &Reference, span: &Span) {
        let Some((pipeline, reader)) = self.steps else {
            self.findings.push(Finding::error(span, "steps are not known here, only in `with:` and `if:`"));
            return;
        };
        let Some((id, field)) = reference.step() else {
            self.findings.push(
                Finding::error(span, "`steps` alone is no value")
                    .hint("write `steps.ID.outputs.NAME`".to_owned()),
            );
            return;
        };
        let finding = if pipeline.step(id).is_none() {
            let ids = pipeline.steps.iter().filter(|step| step.id != reader.id).map(|step| step.id.as_str());
            Finding::error(span, format!("there is no step `{id}`")).hint(did_you_mean(id, ids))
        } else if id == reader.id.as_str() {
            Finding::error(span, format!("step `{id}` cannot read its own results"))
        } else if !reader.ancestors.contains(id) {
            Finding::error(span, format!("step `{}` reads `{id}` without needing it", reader.id))
                .hint(format!("add `needs: [{id}]`"))
        } else if field == StepField::Unknown {
            Finding::error(span, format!("a step has no `{}`", reference.path[2..].join(".")))
                .hint("there are `outputs.NAME`, `outcome` and `conclusion`".to_owned())
        } else {
            return;
        };
        self.findings.push(finding);
    }
}

/// Functions worth suggesting.
const FUNCTIONS: [&str; 20] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "double",
    "has",
    "all",
    "exists",
    "map",
    "filter",
    "lowerAscii",
    "upperAscii",
    "replace",
    "split",
    "join",
    "trim",
    "substring",
];

/// A dotted name with `-` in it, written as if CEL knew such names: where it starts, and the name.
fn minus<'s>(expression: &Expression, source: &'s str) -> Option<(usize, &'s str)> {
    let in_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
    expression.references.iter().find_map(|reference| {
        let before = source.get(..reference.at)?;
        let torn = before.ends_with('-') && !ROOTS.contains(&reference.path[0].as_str());
        if !torn {
            return None;
        }
        let start = before.rfind(|c| !in_name(c)).map_or(0, |at| at + 1);
        let length = source[start..].find(|c| !in_name(c)).unwrap_or(source.len() - start);
        let word = &source[start..start + length];
        ROOTS.iter().any(|root| word.starts_with(&format!("{root}."))).then_some((start, word))
    })
}

/// `steps.my-id.outputs.x` as CEL writes it: `steps['my-id'].outputs.x`.
fn bracketed(word: &str) -> String {
    let mut names = word.split('.');
    let mut written = names.next().unwrap_or_default().to_owned();
    for name in names {
        if name.contains('-') {
            written.push_str(&format!("['{name}']"));
        } else {
            written.push_str(&format!(".{name}"));
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_functions_that_exist() {
        let macros = ["has", "all", "exists", "map", "filter"];
        for name in FUNCTIONS.iter().filter(|name| !macros.contains(name)) {
            assert!(expr::is_function(name), "{name}");
        }
        assert!(!expr::is_function("lower"));
    }
}

//! A text of the pipeline in, its compiled expressions and their places out.

use super::{
    expr::{self, Expression},
    finding::{Finding, Found},
    source::Span,
    template::{self, Part},
};

/// A part of a text, compiled.
#[derive(Debug)]
pub(super) enum Piece {
    /// Stands for itself.
    Text(String),
    /// An expression and the place of its inside.
    Expression(Expression, Span),
}

/// Compiles a text that may hold `${{ expressions }}`; `span` is where it stands.
///
/// # Errors
/// An expression that is not closed or not CEL.
pub(super) fn text(text: &str, span: &Span) -> Found<Vec<Piece>> {
    let parts = template::split(text).map_err(|rest| {
        Finding::error(&span.find(rest.lines().next().unwrap_or(rest)), "`${{` is never closed")
            .hint("close it with `}}`".to_owned())
    })?;
    let piece = |part| match part {
        Part::Text(text) => Ok(Piece::Text(text.to_owned())),
        Part::Expression(source) => {
            let inside = span.find(source);
            expression(source, &inside).map(|compiled| Piece::Expression(compiled, inside))
        }
    };
    parts.into_iter().map(piece).collect()
}

/// Compiles one expression; `span` is where it stands.
///
/// # Errors
/// Where it is not CEL.
pub(super) fn expression(source: &str, span: &Span) -> Found<Expression> {
    expr::parse(source).map_err(|error| {
        let place = if span.text() == source && error.at < source.len() {
            span.part(error.at, 1)
        } else {
            trimmed(span)
        };
        Finding::error(&place, format!("not an expression: {}", error.message)).into()
    })
}

/// A span without the blanks around it.
pub(super) fn trimmed(span: &Span) -> Span {
    let text = span.text();
    span.part(text.len() - text.trim_start().len(), text.trim().len())
}

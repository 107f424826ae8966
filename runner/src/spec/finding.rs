//! What is wrong with a pipeline, and how it is shown: message, place, source line, hint.

use std::fmt;

use meshrun_protocol::{Diagnostic, Severity};
use serde::Serialize;

use super::source::{Place, Span};

/// One thing to say about a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Stable code, where a plugin gave one: `istio/trusted-proxies`.
    pub code: Option<String>,
    /// What is wrong: a lower-case fragment without a period.
    pub message: String,
    /// Where; `None` where there is no text to point at.
    pub place: Option<Place>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Finding {
    pub(super) fn error(span: &Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, Some(span.place()), message)
    }

    pub(super) fn warning(span: &Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, Some(span.place()), message)
    }

    /// An error that has no place in a text.
    pub(super) fn unplaced(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, None, message)
    }

    /// Puts what a plugin said where it belongs.
    pub fn from_diagnostic(diagnostic: &Diagnostic, place: Option<Place>) -> Self {
        Self {
            severity: diagnostic.severity,
            code: diagnostic.code.clone(),
            message: diagnostic.message.clone(),
            place,
            hint: diagnostic.hint.clone(),
        }
    }

    /// The finding without its place, as events carry it.
    pub fn to_diagnostic(&self) -> Diagnostic {
        Diagnostic {
            severity: self.severity,
            code: self.code.clone(),
            path: String::new(),
            message: self.message.clone(),
            hint: self.hint.clone(),
        }
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    fn new(severity: Severity, place: Option<Place>, message: impl Into<String>) -> Self {
        Self { severity, code: None, message: message.into(), place, hint: None }
    }
}

/// A hint that ends behind this column goes to a line of its own, so that the carets stay on theirs on any screen.
const CARET_LINE: usize = 74;

/// Several lines as compilers write them: `error: ...`, place, source line, caret with the hint.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Hint => "hint",
        };
        write!(f, "{severity}: {}", self.message)?;
        if let Some(code) = &self.code {
            write!(f, " [{code}]")?;
        }
        let Some(place) = &self.place else {
            return match &self.hint {
                Some(hint) => write!(f, "\n  = {hint}"),
                None => Ok(()),
            };
        };
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        let (text, before, width) = excerpt(place);
        write!(f, "\n{margin}--> {}:{}:{}", place.file, place.line, place.column)?;
        write!(f, "\n{margin} |\n{number} | {text}\n{margin} | ")?;
        write!(f, "{}{}", " ".repeat(before), "^".repeat(width))?;
        match &self.hint {
            Some(hint) if before + width + hint.chars().count() < CARET_LINE => {
                write!(f, " {hint}")
            }
            Some(hint) => write!(f, "\n{margin} = {hint}"),
            None => Ok(()),
        }
    }
}

/// The line as it is shown, with the columns before the caret and under it; of a long line, a part.
fn excerpt(place: &Place) -> (String, usize, usize) {
    const LONGEST: usize = 140;
    const BEFORE: usize = 60;
    let skip = match place.text.chars().count() {
        length if length > LONGEST => (place.column - 1).saturating_sub(BEFORE),
        _ => 0,
    };
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let mut text: String = place.text.chars().skip(skip).take(LONGEST).map(printable).collect();
    let before = place.column - 1 - skip;
    let width = place.width.min(LONGEST - before.min(LONGEST - 1));
    if skip > 0 {
        text = text.chars().skip(3).collect();
        text.insert_str(0, "...");
    }
    (text, before, width)
}

/// Why a pipeline cannot be used: everything that was found, in the order of the files' lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", summary(.findings))]
pub struct SpecError {
    /// At least one error, and the warnings beside it.
    pub findings: Vec<Finding>,
}

impl SpecError {
    /// Every finding as text, with an empty line between them.
    pub fn render(&self) -> String {
        self.findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n\n")
    }
}

/// A value, or the one finding that stands in its way.
pub(super) type Found<T> = Result<T, Box<Finding>>;

impl From<Box<Finding>> for SpecError {
    fn from(finding: Box<Finding>) -> Self {
        Self::from(*finding)
    }
}

impl From<Finding> for SpecError {
    fn from(finding: Finding) -> Self {
        Self { findings: vec![finding] }
    }
}

/// Sorts findings and says whether they allow to go on.
///
/// # Errors
/// All findings, if one of them is an error.
pub fn settle(mut findings: Vec<Finding>) -> Result<Vec<Finding>, SpecError> {
    findings.sort_by(|a, b| a.place.cmp(&b.place));
    findings.dedup();
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        Err(SpecError { findings })
    } else {
        Ok(findings)
    }
}

fn summary(findings: &[Finding]) -> String {
    let errors: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    match errors.as_slice() {
        [Finding { message, place: Some(place), .. }] => {
            format!("{}:{}:{}: {message}", place.file, place.line, place.column)
        }
        [Finding { message, .. }] => message.clone(),
        more => format!("the pipeline has {} errors", more.len()),
    }
}

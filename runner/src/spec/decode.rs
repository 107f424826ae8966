//! Decoding of placed values: each wrong one is a finding, and decoding goes on.

use std::{path::PathBuf, time::Duration};

use serde_json::Value;

use super::{
    finding::Finding,
    node::{self, Entry, Kind, Node},
    scope::{Resolver, Scope},
    source::Span,
    suggest::did_you_mean,
    template, yaml,
};

/// Collects what is wrong while values are decoded.
pub(super) struct Decoder<'f> {
    pub(super) findings: &'f mut Vec<Finding>,
}

impl Decoder<'_> {
    /// The entries of a map; none, and a finding, where it is something else.
    pub(super) fn map<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Entry] {
        match &node.kind {
            Kind::Map(entries) => entries,
            _ => {
                self.expected(&node.first(), what, "a map", &node.value());
                &[]
            }
        }
    }

    /// The entries of a map whose keys are all known.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> &'n [Entry] {
        let entries = self.map(node, what);
        for entry in entries
            .iter()
            .filter(|entry| !known.contains(&entry.key.as_str()) && entry.key != yaml::MERGE_KEY)
        {
            self.findings.push(
                Finding::error(&entry.at, format!("unknown key `{}`", entry.key))
                    .hint(did_you_mean(&entry.key, known.iter().copied())),
            );
        }
        entries
    }

    /// The items of a list; none, and a finding, where it is something else.
    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.kind {
            Kind::Seq(items) => items,
            _ => {
                self.expected(&node.first(), what, "a list", &node.value());
                &[]
            }
        }
    }

    /// The value of a key as text.
    pub(super) fn text(&mut self, entry: Option<&Entry>) -> Option<String> {
        let entry = entry?;
        match entry.value.text() {
            Some(text) => Some(text.to_owned()),
            None => {
                let value = entry.value.value();
                let finding = wrong(&entry.place(), &format!("`{}`", entry.key), "text", &value);
                // As it is written: 1.20 is the number 1.2.
                let quote = matches!(value, Value::Number(_) | Value::Bool(_));
                let written = entry.place();
                self.findings.push(finding.hint(quote.then(|| format!("quote it: \"{}\"", written.text()))));
                None
            }
        }
    }

    /// As [`Decoder::text`], with expressions evaluated.
    pub(super) fn evaluated(&mut self, entry: Option<&Entry>, scope: &Scope) -> Option<String> {
        let entry = entry?;
        if !entry.value.text().is_some_and(template::has_expression) {
            return self.text(Some(entry));
        }
        let mut resolver = Resolver::new(scope);
        let value = resolver.resolve(&entry.value);
        if !resolver.findings.is_empty() {
            self.findings.extend(resolver.findings);
            return None;
        }
        let value = Node { span: entry.value.span.clone(), kind: Kind::Scalar(value) };
        self.text(Some(&Entry { value, ..entry.clone() }))
    }

    /// The value of a key as a path; a relative one starts at the directory of the file that names it.
    pub(super) fn path(&mut self, entry: Option<&Entry>, scope: &Scope) -> Option<PathBuf> {
        let path = self.evaluated(entry, scope)?;
        Some(entry?.value.span.source.directory.join(path))
    }

    pub(super) fn boolean(&mut self, entry: Option<&Entry>) -> Option<bool> {
        let entry = entry?;
        let value = entry.value.value();
        value.as_bool().or_else(|| {
            self.expected(&entry.place(), &format!("`{}`", entry.key), "true or false", &value);
            None
        })
    }

    /// The value of a key as a whole number from 1 to `most`.
    pub(super) fn count(&mut self, entry: Option<&Entry>, most: u32) -> Option<u32> {
        let entry = entry?;
        let value = entry.value.value();
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
        count.filter(|count| (1..=most).contains(count)).or_else(|| {
            let range = format!("a whole number from 1 to {most}");
            self.expected(&entry.place(), &format!("`{}`", entry.key), &range, &value);
            None
        })
    }

    /// The value of a key as a time span: `90s`, `10m`, `1h30m`.
    pub(super) fn duration(&mut self, entry: Option<&Entry>) -> Option<Duration> {
        let entry = entry?;
        let value = entry.value.value();
        let parsed = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
        parsed.filter(|duration| !duration.is_zero()).or_else(|| {
            let finding = wrong(&entry.place(), &format!("`{}`", entry.key), "a time span", &value);
            let hint = match &value {
                Value::Number(number) => format!("with its unit: `{number}s`"),
                _ => "as in `90s`, `10m`, `1h30m`".to_owned(),
            };
            self.findings.push(finding.hint(hint));
            None
        })
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, entry: Option<&Entry>, words: &[(&str, T)]) -> Option<T> {
        let entry = entry?;
        let text = self.text(Some(entry))?;
        let known = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if known.is_none() {
            let finding = Finding::error(&entry.place(), format!("unknown `{}`: `{text}`", entry.key));
            self.findings.push(finding.hint(did_you_mean(&text, words.iter().map(|(word, _)| *word))));
        }
        known
    }

    /// Reports a key that must be there.
    pub(super) fn missing(&mut self, span: &Span, key: &str, of: &str) {
        self.findings.push(Finding::error(span, format!("{of} has no `{key}`")));
    }

    fn expected(&mut self, span: &Span, what: &str, expected: &str, got: &Value) {
        self.findings.push(wrong(span, what, expected, got));
    }
}

fn wrong(span: &Span, what: &str, expected: &str, got: &Value) -> Finding {
    Finding::error(span, format!("{what} must be {expected}, not {}", node::describe(got)))
}

//! Texts and positions in them: what was parsed goes in, places that people can look up come out.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

/// A text that was parsed: a pipeline file or an argument of the command line.
#[derive(Debug)]
pub(super) struct Source {
    /// The path as it was given, or the name of the option.
    pub(super) name: String,
    /// The text.
    pub(super) text: String,
    /// The directory that relative paths in the text start from.
    pub(super) directory: PathBuf,
}

impl Source {
    /// A text that stands for a file at `path`.
    pub(super) fn new(path: &Path, text: String) -> Arc<Self> {
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        Arc::new(Self { name: path.display().to_string(), text, directory })
    }

    /// A text that was given on the command line.
    pub(super) fn argument(option: &str, text: &str) -> Arc<Self> {
        Arc::new(Self { name: option.to_owned(), text: text.to_owned(), directory: PathBuf::new() })
    }
}

/// A range of bytes in a [`Source`].
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) source: Arc<Source>,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    /// The whole text.
    pub(super) fn whole(source: &Arc<Source>) -> Self {
        Self { source: Arc::clone(source), start: 0, end: source.text.len() }
    }

    /// The text of the range.
    pub(super) fn text(&self) -> &str {
        self.source.text.get(self.start..self.end).unwrap_or_default()
    }

    /// The first occurrence of a text inside the range, or the range itself where escapes or folding hide it.
    pub(super) fn find(&self, text: &str) -> Self {
        match self.text().find(text) {
            Some(at) => self.part(at, text.len()),
            None => self.clone(),
        }
    }

    /// A part of the range: `length` bytes from byte `at`.
    pub(super) fn part(&self, at: usize, length: usize) -> Self {
        let start = self.start + at;
        Self { source: Arc::clone(&self.source), start, end: start + length }
    }

    /// The line number, 1-based.
    pub(super) fn line(&self) -> usize {
        self.before().matches('\n').count() + 1
    }

    /// What people need to find it.
    pub(super) fn place(&self) -> Place {
        let line_start = self.before().rfind('\n').map_or(0, |at| at + 1);
        let line = self.source.text[line_start..].lines().next().unwrap_or_default();
        let first_line = self.text().lines().next().unwrap_or_default().trim_end();
        Place {
            file: self.source.name.clone(),
            line: self.line(),
            column: self.source.text[line_start..self.before().len()].chars().count() + 1,
            width: first_line.chars().count().max(1),
            text: line.to_owned(),
        }
    }

    fn before(&self) -> &str {
        self.source.text.get(..self.start).unwrap_or(&self.source.text)
    }
}

/// Where something stands in a pipeline file or on the command line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The file as it was named, or an option such as `--set`.
    pub file: String,
    /// Line, 1-based.
    pub line: usize,
    /// Column in characters, 1-based.
    pub column: usize,
    /// Characters to underline, at least one.
    pub width: usize,
    /// The whole line.
    pub text: String,
}

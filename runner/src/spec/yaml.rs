//! YAML 1.2 text in, a tree of placed values out. The only file that knows the YAML parser.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Number, Value};
use serde_saphyr::granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Span as RawSpan, StrInput, Tag};

use super::{
    finding::{Finding, Found},
    node::{Entry, Kind, Node},
    source::{Source, Span},
};

/// Values that aliases may expand to; keeps a few lines of YAML from filling the memory.
const MAX_VALUES: usize = 100_000;

/// The merge key of YAML 1.1.
pub(super) const MERGE_KEY: &str = "<<";

/// Parses a text that holds one YAML document; an empty one is `null`.
///
/// # Errors
/// The first place where the text is not YAML, or not the YAML that JSON can say.
pub(super) fn parse(source: &Arc<Source>, findings: &mut Vec<Finding>) -> Found<Node> {
    let mut loader = Loader {
        source,
        parser: Parser::new_from_str(&source.text),
        anchors: HashMap::new(),
        values: 0,
        findings,
    };
    let node = loader.document()?;
    match loader.next()? {
        (Event::StreamEnd, _) => Ok(node),
        (_, span) => Err(Box::new(
            Finding::error(&span, "a second document")
                .hint("one file is one pipeline: put it into a file of its own".to_owned()),
        )),
    }
}

struct Loader<'s, 'f> {
    source: &'s Arc<Source>,
    parser: Parser<'s, StrInput<'s>>,
    anchors: HashMap<usize, Node>,
    values: usize,
    findings: &'f mut Vec<Finding>,
}

impl<'s> Loader<'s, '_> {
    fn next(&mut self) -> Found<(Event<'s>, Span)> {
        loop {
            let (event, span) = match self.parser.next_event() {
                Some(Ok(next)) => next,
                Some(Err(error)) => {
                    let at = error.marker();
                    let start = at.byte_offset().unwrap_or(self.source.text.len());
                    return Err(self.syntax_error(start, error.kind(), &error.info()));
                }
                None => (Event::StreamEnd, RawSpan::default()),
            };
            match event {
                Event::Comment(..) | Event::StreamStart => {}
                Event::Scalar(_, _, _, Some(tag))
                | Event::SequenceStart(_, _, Some(tag))
                | Event::MappingStart(_, _, Some(tag))
                    if !tag.is_yaml_core_schema() =>
                {
                    let at = self.span(&span.tag_span().unwrap_or(span));
                    return Err(Box::new(
                        Finding::error(&at, format!("the tag `{}` is not understood", at.text()))
                            .hint("quote the value if it is text".to_owned()),
                    ));
                }
                event => return Ok((event, self.span(&span))),
            }
        }
    }

    fn document(&mut self) -> Found<Node> {
        match self.next()? {
            (Event::DocumentStart(..), _) => {}
            (_, span) => return Ok(Node { span, kind: Kind::Scalar(Value::Null) }),
        }
        let (event, span) = self.next()?;
        let node = self.node(event, span)?;
        self.next()?;
        Ok(node)
    }

    fn node(&mut self, event: Event<'s>, span: Span) -> Found<Node> {
        self.values += 1;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(&text, style, tag.as_deref(), &span)?;
                (Node { span, kind: Kind::Scalar(value) }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.sequence(span)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(span)?, anchor),
            Event::Alias(anchor) => return self.alias(anchor, span),
            other => return Err(Box::new(Finding::error(&span, format!("unexpected YAML: {other:?}")))),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self, span: Span) -> Found<Node> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, end) => return Ok(collection(span, &end, Kind::Seq(items))),
                (event, at) => items.push(self.node(event, at)?),
            }
        }
    }

    fn mapping(&mut self, span: Span) -> Found<Node> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (key, at) = match self.next()? {
                (Event::MappingEnd, end) => return Ok(collection(span, &end, Kind::Map(entries))),
                (Event::Scalar(text, ..), at) => (text.into_owned(), at),
                (_, at) => {
                    let finding = Finding::error(&at, "a key must be text");
                    let is_template = self.source.text[..at.start].ends_with('{');
                    let hint = "`{{ }}` belongs to Helm's templates: expressions are written `${{ }}`";
                    return Err(Box::new(finding.hint(is_template.then(|| hint.to_owned()))));
                }
            };
            if key == MERGE_KEY {
                self.findings.push(
                    Finding::error(&at, "merge keys (`<<`) are not part of YAML 1.2")
                        .hint("write the keys out, or use `include:`".to_owned()),
                );
            }
            let (event, value_at) = self.next()?;
            let value = self.node(event, value_at)?;
            if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                self.findings.push(
                    Finding::error(&at, format!("key `{key}` is there twice"))
                        .hint(format!("the first one is in line {}", first.at.line())),
                );
            } else {
                entries.push(Entry { key, at, value });
            }
        }
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Found<Node> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(Box::new(Finding::error(&span, "an alias inside of its own anchor")));
        };
        self.values += node.size();
        if self.values > MAX_VALUES {
            let message = format!("aliases expand to more than {MAX_VALUES} values");
            return Err(Box::new(Finding::error(&span, message)));
        }
        Ok(node)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Found<Value> {
        let is_text = tag.map_or(style != ScalarStyle::Plain, |tag| tag.is_yaml_core_schema_tag("str"));
        if is_text {
            return Ok(Value::String(text.to_owned()));
        }
        let value = resolve(text).ok_or_else(|| {
            Box::new(
                Finding::error(span, format!("`{text}` is not a number that JSON can say"))
                    .hint("quote it if it is text".to_owned()),
            )
        })?;
        self.warn_of_lost_digits(text, &value, span);
        Ok(value)
    }

    /// `1.20` reads as 1.2: harmless for a quantity, wrong for a version.
    fn warn_of_lost_digits(&mut self, text: &str, value: &Value, span: &Span) {
        let is_float = value.as_f64().is_some() && !value.is_i64() && !value.is_u64();
        let written = value.to_string();
        if is_float && !text.contains(['e', 'E']) && written != text.trim_start_matches('+') {
            self.findings.push(
                Finding::warning(span, format!("`{text}` is read as the number {value}"))
                    .hint(format!("write \"{text}\" if it is a version")),
            );
        }
    }

    fn span(&self, raw: &RawSpan) -> Span {
        let end_of_text = self.source.text.len();
        let start = raw.start.byte_offset().unwrap_or(end_of_text).min(end_of_text);
        let end = raw.end.byte_offset().unwrap_or(start).clamp(start, end_of_text);
        Span { source: Arc::clone(self.source), start, end }
    }

    fn syntax_error(&self, start: usize, kind: &ErrorKind, message: &str) -> Box<Finding> {
        let text = &self.source.text;
        let start = start.min(text.len());
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let indentation = &line[..line.len() - line.trim_start().len()];
        let mut tab = indentation.find('\t').map(|at| line_start + at);
        if *kind == ErrorKind::TabInPlainScalar {
            tab = tab.or_else(|| text[start..].find('\t').map(|at| start + at));
        }
        let whole = Span::whole(self.source);
        if let Some(tab) = tab {
            let finding = Finding::error(&whole.part(tab, 1), "a tab in the indentation");
            return Box::new(finding.hint("indent with spaces".to_owned()));
        }
        let hint = match kind {
            ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator
                if line.contains("${{") =>
            {
                Some("inside of `{ }` and `[ ]`, quote texts with `${{ }}`")
            }
            ErrorKind::MappingValueNotAllowed => {
                Some("quote a text with `: ` in it, and check the indentation")
            }
            ErrorKind::ExpectedBlockSequenceEntry | ErrorKind::ExpectedBlockMappingKey => {
                Some("check the indentation")
            }
            _ => None,
        };
        let finding =
            Finding::error(&whole.part(start, 1.min(text.len() - start)), format!("not YAML: {message}"));
        Box::new(finding.hint(hint.map(str::to_owned)))
    }
}

/// A block collection starts at its first value and has no length of its own until it ends.
fn collection(mut span: Span, end: &Span, kind: Kind) -> Node {
    span.end = end.start.max(span.start);
    Node { span, kind }
}

/// The core schema of YAML 1.2 (chapter 10.3): `yes`, `on` and `1:30` are text; `None` for `.inf` and `.nan`.
fn resolve(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        _ => {}
    }
    let radix = |prefix: &str, radix| {
        text.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, radix).ok())
    };
    if let Some(integer) = radix("0o", 8).or_else(|| radix("0x", 16)) {
        return Some(integer.into());
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return None;
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !unsigned.contains(|c: char| c.is_ascii_digit())
        || unsigned.contains(|c: char| !matches!(c, '0'..='9' | '.' | 'e' | 'E' | '+' | '-'))
    {
        return Some(text.into());
    }
    if let Ok(integer) = text.parse::<i64>() {
        return Some(integer.into());
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Some(integer.into());
    }
    match text.parse::<f64>() {
        Ok(float) => Number::from_f64(float).map(Value::Number),
        Err(_) => Some(text.into()),
    }
}

/// Parses the value of a `--var` or `--set` as YAML.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_part(span: &Span, findings: &mut Vec<Finding>) -> Found<Node> {
    // Blanks instead of the part before the value: every place stays what it is in the whole argument.
    let blanks = " ".repeat(span.start);
    let text = format!("{blanks}{}", span.text());
    let part = Arc::new(Source { name: span.source.name.clone(), text, directory: Default::default() });
    let before = findings.len();
    let parsed = parse(&part, findings);
    let shown = span.source.text.lines().next().unwrap_or_default();
    let show = |finding: &mut Finding| {
        if let Some(place) = &mut finding.place {
            place.text = shown.to_owned();
        }
    };
    findings[before..].iter_mut().for_each(show);
    let mut node = parsed.map_err(|mut finding| {
        show(&mut finding);
        finding
    })?;
    if node.is_null() {
        node.span = Span { source: part, start: span.start, end: span.end };
    }
    relocate(&mut node, &span.source);
    Ok(node)
}

fn relocate(node: &mut Node, source: &Arc<Source>) {
    node.span.source = Arc::clone(source);
    match &mut node.kind {
        Kind::Scalar(_) => {}
        Kind::Seq(items) => items.iter_mut().for_each(|item| relocate(item, source)),
        Kind::Map(entries) => {
            for entry in entries {
                entry.at.source = Arc::clone(source);
                relocate(&mut entry.value, source);
            }
        }
    }
}

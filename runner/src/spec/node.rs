//! A YAML document as a tree whose every value knows where it stands.

use serde_json::{Map, Value};

use super::source::Span;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// `null`, a boolean, a number or a text.
    Scalar(Value),
    Seq(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key, its place and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Span,
    pub(super) value: Node,
}

/// How a value is reached.
#[derive(Clone, Copy)]
enum Way<'n> {
    Entry(&'n Entry),
    Item(&'n Node),
}

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Scalar(Value::Null))
    }

    pub(super) fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Seq(items) => items,
            _ => &[],
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The JSON of it.
    pub(super) fn value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::Seq(items) => Value::Array(items.iter().map(Node::value).collect()),
            Kind::Map(entries) => Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.value.value())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// Says what it is, for "expected ..., got ...".
    pub(super) fn describe(&self) -> String {
        describe(&self.value())
    }

    /// The place of the value at a JSON pointer, or of the closest value above it that is there. Lists and maps
    /// are pointed at by their key.
    pub(super) fn place_of(&self, pointer: &str) -> Option<Span> {
        self.walk(pointer).map(|way| match way {
            Way::Entry(entry) => entry.place(),
            Way::Item(item) => item.first(),
        })
    }

    /// The place of the key that leads to the value at a JSON pointer; `None` at the top.
    pub(super) fn key_of(&self, pointer: &str) -> Option<Span> {
        self.walk(pointer).map(|way| match way {
            Way::Entry(entry) => entry.at.clone(),
            Way::Item(item) => item.first(),
        })
    }

    /// The last thing on the way to a JSON pointer that is there.
    fn walk(&self, pointer: &str) -> Option<Way<'_>> {
        let mut node = self;
        let mut last = None;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let way = match &node.kind {
                Kind::Map(_) => node.entry(&token).map(Way::Entry),
                Kind::Seq(items) => token.parse::<usize>().ok().and_then(|at| items.get(at)).map(Way::Item),
                Kind::Scalar(_) => None,
            };
            let Some(way) = way else { break };
            node = match way {
                Way::Entry(entry) => &entry.value,
                Way::Item(item) => item,
            };
            last = Some(way);
        }
        last
    }

    /// A short span to point at: the scalar, or the first key or item of a collection.
    pub(super) fn first(&self) -> Span {
        match &self.kind {
            Kind::Scalar(_) => self.span.clone(),
            Kind::Seq(items) => items.first().map_or_else(|| self.span.clone(), Node::first),
            Kind::Map(entries) => entries.first().map_or_else(|| self.span.clone(), |entry| entry.at.clone()),
        }
    }

    /// How many values there are in it, itself included.
    pub(super) fn size(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar(_) => 0,
            Kind::Seq(items) => items.iter().map(Node::size).sum(),
            Kind::Map(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
        }
    }
}

impl Entry {
    /// The value where it is a scalar, the key where it is a collection or nothing at all.
    pub(super) fn place(&self) -> Span {
        match &self.value.kind {
            Kind::Scalar(_) if self.value.span.start < self.value.span.end => self.value.span.clone(),
            _ => self.at.clone(),
        }
    }
}

/// Says what a value is: `text "two"`, `number 1.19`, `a list`.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(value) => format!("boolean {value}"),
        Value::Number(number) => format!("number {number}"),
        Value::String(text) if text.chars().count() > 40 => {
            format!("text {:?}...", text.chars().take(37).collect::<String>())
        }
        Value::String(text) => format!("text {text:?}"),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a map".into(),
    }
}

//! Decoding of `steps:`, and the checks that need all of them: ids, needs, cycles.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    decode::Decoder,
    finding::Finding,
    graph,
    node::{Entry, Kind, Node},
    pipeline::{Isolation, Pipeline, Retry, Step, StepSource},
    source::Span,
    suggest::did_you_mean,
    template::{self, Part},
};
use crate::ids::StepId;

/// Keys of a step.
pub(super) const KEYS: [&str; 10] =
    ["id", "name", "uses", "needs", "if", "with", "timeout", "retry", "continue-on-error", "isolation"];
/// Keys of `retry`.
pub(super) const RETRY_KEYS: [&str; 3] = ["attempts", "backoff", "max-backoff"];

/// The most attempts that `retry` can ask for.
pub(super) const MAX_ATTEMPTS: u32 = 100;

/// Decodes the steps and links them.
pub(super) fn decode(entry: &Entry, decoder: &mut Decoder<'_>) -> Vec<Step> {
    let items = decoder.list(&entry.value, "`steps`");
    if entry.value.items().is_empty() && matches!(entry.value.kind, Kind::Seq(_)) {
        decoder.findings.push(Finding::error(&entry.at, "there are no steps"));
    }
    let mut steps: Vec<Step> = items.iter().filter_map(|item| step(item, decoder)).collect();
    refuse_duplicates(&steps, decoder);
    link(&mut steps, decoder);
    steps
}

fn step(node: &Node, decoder: &mut Decoder<'_>) -> Option<Step> {
    decoder.fields(node, "a step", &KEYS);
    if !matches!(node.kind, Kind::Map(_)) {
        return None;
    }
    let first = node.first();
    let id = match node.entry("id") {
        Some(entry) => decoder.text(Some(entry)).filter(|id| valid_id(id, &entry.place(), decoder)),
        None => {
            decoder.missing(&first, "id", "the step");
            None
        }
    };
    let uses = match node.entry("uses") {
        Some(entry) => decoder.text(Some(entry)),
        None => {
            decoder.missing(&first, "uses", "the step");
            None
        }
    };
    let name = decoder.text(node.entry("name"));
    let (needs, needs_at) = needs(node.entry("needs"), decoder);
    let (condition, condition_at) = condition(node.entry("if"), decoder).unzip();
    let with = node.entry("with").filter(|with| !with.value.is_null());
    if let Some(with) = with {
        decoder.map(&with.value, "`with`");
    }
    let timeout = decoder.duration(node.entry("timeout")).unwrap_or(Pipeline::DEFAULT_TIMEOUT);
    let retry = node.get("retry").map(|node| retry(node, decoder)).unwrap_or_default();
    let continue_on_error = decoder.boolean(node.entry("continue-on-error")).unwrap_or_default();
    let isolation = decoder.word(node.entry("isolation"), &Isolation::NAMES).unwrap_or_default();
    let id_at = node.entry("id").map_or_else(|| first.clone(), Entry::place);
    Some(Step {
        id: StepId::new(id?),
        name,
        uses: uses?,
        needs,
        ancestors: Default::default(),
        condition,
        with: with.map_or_else(|| json!({}), |with| with.value.value()),
        timeout,
        retry,
        continue_on_error,
        isolation,
        place: id_at.place(),
        source: Arc::new(StepSource {
            uses: node.entry("uses").map_or_else(|| first.clone(), Entry::place),
            with_key: with.map_or_else(|| id_at.clone(), |with| with.at.clone()),
            with: with.map(|with| with.value.clone()),
            condition: condition_at,
            needs: needs_at,
            id: id_at,
        }),
    })
}

fn valid_id(id: &str, span: &Span, decoder: &mut Decoder<'_>) -> bool {
    let valid = StepId::is_valid(id);
    if !valid {
        decoder.findings.push(
            Finding::error(span, format!("`{id}` cannot be the id of a step"))
                .hint("a lower-case letter, then lower-case letters, digits, `-` and `_`".to_owned()),
        );
    }
    valid
}

/// A list of ids, or a single one as GitHub Actions allows.
fn needs(entry: Option<&Entry>, decoder: &mut Decoder<'_>) -> (Vec<StepId>, Vec<Span>) {
    let Some(entry) = entry.filter(|entry| !entry.value.is_null()) else { return Default::default() };
    let items = match &entry.value.kind {
        Kind::Scalar(Value::String(_)) => std::slice::from_ref(&entry.value),
        _ => decoder.list(&entry.value, "`needs`"),
    };
    let mut ids = Vec::new();
    for item in items {
        let id = decoder.text(Some(&Entry { key: "needs".into(), at: item.first(), value: item.clone() }));
        ids.extend(id.map(|id| (StepId::new(id), item.span.clone())));
    }
    ids.into_iter().unzip()
}

/// The expression of `if:` and its place: `${{ }}` around it may be left out.
fn condition(entry: Option<&Entry>, decoder: &mut Decoder<'_>) -> Option<(String, Span)> {
    let entry = entry?;
    let span = entry.place();
    match &entry.value.kind {
        Kind::Scalar(Value::Bool(holds)) => Some((holds.to_string(), span)),
        Kind::Scalar(Value::String(text)) => match template::split(text).as_deref() {
            Ok([Part::Expression(source)]) => Some(((*source).to_owned(), span.find(source))),
            Ok(_) if !template::has_expression(text) => Some((text.clone(), span.find(text))),
            Ok(_) => {
                let finding = Finding::error(&span, "`if` must be one expression");
                let hint = "put all of it into one `${{ }}`".to_owned();
                decoder.findings.push(finding.hint(hint));
                None
            }
            Err(_) => {
                decoder.findings.push(
                    Finding::error(&span, "`${{` is never closed").hint("close it with `}}`".to_owned()),
                );
                None
            }
        },
        _ => {
            let message = format!("`if` must be an expression, not {}", entry.value.describe());
            decoder.findings.push(Finding::error(&span, message));
            None
        }
    }
}

fn retry(node: &Node, decoder: &mut Decoder<'_>) -> Retry {
    decoder.fields(node, "`retry`", &RETRY_KEYS);
    let default = Retry::default();
    let backoff = decoder.duration(node.entry("backoff")).unwrap_or(default.backoff);
    Retry {
        attempts: decoder.count(node.entry("attempts"), MAX_ATTEMPTS).unwrap_or(default.attempts),
        backoff,
        max_backoff: decoder
            .duration(node.entry("max-backoff"))
            .unwrap_or_else(|| default.max_backoff.max(backoff)),
    }
}

fn refuse_duplicates(steps: &[Step], decoder: &mut Decoder<'_>) {
    for (index, step) in steps.iter().enumerate() {
        if let Some(first) = steps[..index].iter().find(|first| first.id == step.id) {
            decoder.findings.push(
                Finding::error(&step.source.id, format!("there are two steps `{}`", step.id))
                    .hint(format!("the first one is in line {}", first.place.line)),
            );
        }
    }
}

/// Checks needs and fills in the ancestors.
fn link(steps: &mut [Step], decoder: &mut Decoder<'_>) {
    let ids: Vec<StepId> = steps.iter().map(|step| step.id.clone()).collect();
    for step in steps.iter() {
        let others = || ids.iter().filter(|id| **id != step.id).map(StepId::as_str);
        for (need, span) in step.needs.iter().zip(&step.source.needs) {
            if !ids.contains(need) {
                decoder.findings.push(
                    Finding::error(span, format!("step `{}` needs `{need}`, which is not there", step.id))
                        .hint(did_you_mean(need.as_str(), others().collect::<Vec<_>>())),
                );
            }
        }
    }
    let needs: BTreeMap<_, _> = steps.iter().map(|step| (step.id.clone(), step.needs.clone())).collect();
    match graph::ancestors(&needs) {
        Ok(mut ancestors) => {
            for step in steps {
                step.ancestors = ancestors.remove(&step.id).unwrap_or_default();
            }
        }
        Err(cycle) => {
            let way: Vec<_> = cycle.iter().map(StepId::as_str).collect();
            let first = steps.iter().find(|step| step.id == cycle[0]);
            let span = first.and_then(|step| {
                let at = step.needs.iter().position(|need| *need == cycle[1])?;
                step.source.needs.get(at)
            });
            if let Some(span) = span {
                decoder.findings.push(Finding::error(
                    span,
                    format!("steps need each other in a circle: {}", way.join(" -> ")),
                ));
            }
        }
    }
}

//! The matrix: lists of values in, combinations out, as GitHub Actions makes them.

use serde_json::{Map, Value};

use super::{
    decode::Decoder,
    finding::Finding,
    node::{Kind, Node},
    source::{Source, Span},
    suggest::did_you_mean,
};

/// As many as GitHub Actions allows.
const MAX_COMBINATIONS: usize = 256;

/// One combination of values.
pub(super) type Combination = Map<String, Value>;

/// All combinations: the product of the lists, without what `exclude` matches, with what `include` adds.
pub(super) fn combinations(node: &Node, decoder: &mut Decoder<'_>) -> Vec<Combination> {
    let mut all = vec![Combination::new()];
    let mut keys = Vec::new();
    for entry in decoder.map(node, "`matrix`") {
        if matches!(entry.key.as_str(), "include" | "exclude") {
            continue;
        }
        let values = match &entry.value.kind {
            Kind::Seq(items) if !items.is_empty() => items,
            _ => {
                let message = format!("expected a list of values, got {}", entry.value.describe());
                decoder.findings.push(Finding::error(&entry.at, message));
                continue;
            }
        };
        if all.len() * values.len() > MAX_COMBINATIONS {
            let message = format!("the matrix has more than {MAX_COMBINATIONS} combinations");
            decoder.findings.push(Finding::error(&entry.at, message));
            return Vec::new();
        }
        keys.push(entry.key.as_str());
        all = all
            .iter()
            .flat_map(|combination| {
                values.iter().map(|value| {
                    let mut more = combination.clone();
                    more.insert(entry.key.clone(), value.value());
                    more
                })
            })
            .collect();
    }
    if keys.is_empty() {
        all.clear();
    }
    for exclude in maps(node, "exclude", decoder) {
        all.retain(|combination| {
            exclude.is_empty() || !exclude.iter().all(|(key, value)| combination.get(key) == Some(value))
        });
    }
    let original = all.len();
    for include in maps(node, "include", decoder) {
        let fits = |combination: &Combination| {
            include
                .iter()
                .filter(|(key, _)| keys.contains(&key.as_str()))
                .all(|(key, value)| combination.get(key) == Some(value))
        };
        let mut added = false;
        for combination in all[..original].iter_mut().filter(|combination| fits(combination)) {
            combination.extend(include.clone());
            added = true;
        }
        if !added {
            all.push(include);
        }
    }
    all
}

fn maps(node: &Node, key: &str, decoder: &mut Decoder<'_>) -> Vec<Combination> {
    let Some(list) = node.get(key) else { return Vec::new() };
    let items = decoder.list(list, &format!("`{key}`")).iter();
    let mut maps = Vec::new();
    for item in items {
        decoder.map(item, &format!("an item of `{key}`"));
        if let Value::Object(map) = item.value() {
            maps.push(map);
        }
    }
    maps
}

/// The combinations that `--matrix NAME=VALUE` leaves.
pub(super) fn select(
    all: &[Combination],
    wanted: &[String],
    findings: &mut Vec<Finding>,
) -> Vec<Combination> {
    let mut left = all.to_vec();
    for argument in wanted {
        let span = Span::whole(&Source::argument("--matrix", argument));
        let Some((name, value)) = argument.split_once('=') else {
            findings.push(Finding::error(&span, "`=` is missing").hint("write NAME=VALUE".to_owned()));
            continue;
        };
        let names: Vec<_> = all.iter().flat_map(Combination::keys).map(String::as_str).collect();
        if !names.contains(&name) {
            let message = match names.as_slice() {
                [] => "the pipeline has no matrix".to_owned(),
                _ => format!("the matrix has no `{name}`"),
            };
            findings.push(Finding::error(&span.find(name), message).hint(did_you_mean(name, names)));
            continue;
        }
        left.retain(|combination| combination.get(name).is_some_and(|has| plain(has) == value));
        if left.is_empty() {
            let mut values: Vec<_> = all.iter().filter_map(|each| each.get(name)).map(plain).collect();
            values.dedup();
            findings.push(
                Finding::error(&span, "the matrix has no such combination")
                    .hint(did_you_mean(value, values.iter().map(String::as_str))),
            );
            return left;
        }
    }
    left
}

/// A combination as the options that choose it.
pub(super) fn options(combination: &Combination) -> String {
    let options: Vec<_> =
        combination.iter().map(|(name, value)| format!("--matrix {name}={}", plain(value))).collect();
    options.join(" ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

//! The document of a pipeline: a file over the files that it includes, `--var` and `--set` applied.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    decode::Decoder,
    finding::{Finding, Found, SpecError},
    load::Overrides,
    node::{Entry, Kind, Node},
    overlay, path,
    source::{Source, Span},
    suggest::did_you_mean,
    yaml,
};

/// How deep files can include each other.
const MAX_INCLUDES: usize = 16;

/// Reads a file; `from` is the place that names it.
///
/// # Errors
/// Where it cannot be read or is not UTF-8.
pub(super) fn read(path: &Path, from: Option<&Span>) -> Found<Arc<Source>> {
    match fs_err::read_to_string(path) {
        Ok(text) => Ok(Source::new(path, text)),
        Err(error) => {
            let why = match error.kind() {
                std::io::ErrorKind::NotFound => "there is no such file".into(),
                std::io::ErrorKind::PermissionDenied => "permission denied".into(),
                std::io::ErrorKind::IsADirectory => "it is a directory".into(),
                std::io::ErrorKind::InvalidData => "it is not UTF-8 text".into(),
                _ => error.to_string(),
            };
            let message = format!("cannot read pipeline file `{}`: {why}", path.display());
            Err(Box::new(match from {
                Some(span) => Finding::error(span, message),
                None => Finding::unplaced(message),
            }))
        }
    }
}

/// The document of a file, over those that it includes, with `--set` and `--var` applied.
///
/// # Errors
/// Where a file cannot be read or is not YAML, or the pipeline is no map.
pub(super) fn load(
    path: &Path,
    source: &Arc<Source>,
    overrides: &Overrides,
    findings: &mut Vec<Finding>,
) -> Result<Node, SpecError> {
    let mut document = with_includes(path, source, &mut Vec::new(), findings).map_err(|finding| {
        let mut findings = std::mem::take(findings);
        findings.push(*finding);
        SpecError { findings }
    })?;
    if !matches!(document.kind, Kind::Map(_)) {
        let message = match document.is_null() {
            true => "the pipeline is empty".to_owned(),
            false => format!("a pipeline must be a map, not {}", document.describe()),
        };
        return Err(Finding::error(&document.first(), message).into());
    }
    for argument in &overrides.vars {
        if let Err(finding) = set_var(&mut document, argument, findings) {
            findings.push(*finding);
        }
    }
    for argument in &overrides.sets {
        if let Err(finding) = set(&mut document, argument, findings) {
            findings.push(*finding);
        }
    }
    Ok(document)
}

fn with_includes(
    path: &Path,
    source: &Arc<Source>,
    way: &mut Vec<PathBuf>,
    findings: &mut Vec<Finding>,
) -> Found<Node> {
    let mut node = yaml::parse(source, findings)?;
    let Kind::Map(entries) = &mut node.kind else { return Ok(node) };
    let Some(at) = entries.iter().position(|entry| entry.key == "include") else { return Ok(node) };
    let include = entries.remove(at);
    let files = match include.value.text() {
        Some(_) => vec![include.value],
        None => Decoder { findings }.list(&include.value, "`include`").to_vec(),
    };
    // Paths such as `../x/a.yaml` can hide that a file includes itself.
    if way.len() > MAX_INCLUDES {
        let message = format!("files include each other more than {MAX_INCLUDES} times");
        return Err(Box::new(Finding::error(&include.at, message)));
    }
    way.push(path.to_owned());
    let mut base: Option<Node> = None;
    for item in files {
        let entry = Entry { key: "include".into(), at: item.first(), value: item };
        let Some(file) = (Decoder { findings: &mut *findings }).text(Some(&entry)) else { continue };
        let file = source.directory.join(file);
        if way.contains(&file) {
            let message = format!("`{}` includes itself", file.display());
            return Err(Box::new(Finding::error(&entry.place(), message)));
        }
        let included = read(&file, Some(&entry.place()))?;
        let next = with_includes(&file, &included, way, findings)?;
        base = Some(match base {
            Some(base) => overlay::pipeline(base, next),
            None => next,
        });
    }
    way.pop();
    Ok(match base {
        Some(base) => overlay::pipeline(base, node),
        None => node,
    })
}

fn set(document: &mut Node, argument: &str, findings: &mut Vec<Finding>) -> Found<()> {
    let span = Span::whole(&Source::argument("--set", argument));
    let (segments, value) = path::assignment(argument).map_err(|error| {
        let length = usize::from(error.at < argument.len());
        Finding::error(&span.part(error.at, length), error.message)
            .hint("write PATH=VALUE, as in `steps.kiali.with.replicas=2`".to_owned())
    })?;
    let node = yaml::parse_part(&span.part(value, argument.len() - value), findings)?;
    overlay::set(document, &segments, node, &span)
}

fn set_var(document: &mut Node, argument: &str, findings: &mut Vec<Finding>) -> Found<()> {
    let span = Span::whole(&Source::argument("--var", argument));
    let (name, _) = argument
        .split_once('=')
        .ok_or_else(|| Finding::error(&span, "`=` is missing").hint("write NAME=VALUE".to_owned()))?;
    let value = name.len() + 1;
    let node = yaml::parse_part(&span.part(value, argument.len() - value), findings)?;
    let Kind::Map(entries) = &mut document.kind else { return Ok(()) };
    let vars = entries.iter_mut().find(|entry| entry.key == "vars").map(|entry| &mut entry.value);
    let known = match vars {
        Some(Node { kind: Kind::Map(vars), .. }) => match vars.iter_mut().find(|var| var.key == name) {
            Some(var) => {
                var.value = node;
                return Ok(());
            }
            None => vars.iter().map(|var| var.key.as_str()).collect(),
        },
        _ => Vec::new(),
    };
    let finding = Finding::error(&span.part(0, name.len()), format!("the pipeline has no var `{name}`"));
    Err(Box::new(finding.hint(did_you_mean(name, known.iter().copied()))))
}

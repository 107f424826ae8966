//! From a document to a [`Pipeline`]: matrix, decoding, checks.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value};

use super::{
    check,
    decode::Decoder,
    document,
    finding::{Finding, SpecError, settle},
    matrix::{self, Combination},
    node::{Entry, Kind, Node},
    pipeline::{Pipeline, PluginFile, State, Target},
    scope::{Resolver, Scope},
    source::Source,
    steps,
};

/// Keys of a pipeline file.
pub(super) const KEYS: [&str; 10] =
    ["name", "include", "target", "vars", "matrix", "plugins", "charts", "state", "concurrency", "steps"];
/// Keys of `target`.
pub(super) const TARGET_KEYS: [&str; 2] = ["context", "server"];
/// Keys of a plugin.
pub(super) const PLUGIN_KEYS: [&str; 2] = ["path", "sha256"];
/// Keys of `state`.
pub(super) const STATE_KEYS: [&str; 1] = ["namespace"];

/// The most steps that can be allowed to run at the same time.
pub(super) const MAX_CONCURRENCY: u32 = 256;

/// What the command line and the environment say about a pipeline.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--var NAME=VALUE`; the value is YAML.
    pub vars: Vec<String>,
    /// `--set PATH=VALUE`; the value is YAML.
    pub sets: Vec<String>,
    /// `--matrix NAME=VALUE`.
    pub matrix: Vec<String>,
    /// The environment that `${{ env.NAME }}` reads.
    pub env: BTreeMap<String, String>,
}

/// Reads a pipeline file.
///
/// # Errors
/// Everything that is wrong with the file, the files it includes and the overrides, with places.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Pipeline, SpecError> {
    let mut findings = Vec::new();
    let source = document::read(path, None)?;
    let document = document::load(path, &source, overrides, &mut findings)?;
    build(path, &document, overrides, findings)
}

/// Reads a pipeline from a text; `name` stands for the file in messages, and includes are relative to it.
///
/// # Errors
/// As [`load`].
pub fn load_str(name: &str, text: &str, overrides: &Overrides) -> Result<Pipeline, SpecError> {
    let mut findings = Vec::new();
    let path = Path::new(name);
    let document = document::load(path, &Source::new(path, text.to_owned()), overrides, &mut findings)?;
    build(path, &document, overrides, findings)
}

/// The combinations of a pipeline's matrix that `--matrix` leaves; none where there is no matrix.
///
/// # Errors
/// What is wrong with the file as a document, and with the matrix.
pub fn combinations(path: &Path, overrides: &Overrides) -> Result<Vec<Map<String, Value>>, SpecError> {
    let mut findings = Vec::new();
    let document = document::load(path, &document::read(path, None)?, overrides, &mut findings)?;
    let all = all_combinations(&document, &mut findings);
    let left = matrix::select(&all, &overrides.matrix, &mut findings);
    settle(findings)?;
    Ok(left)
}

fn all_combinations(document: &Node, findings: &mut Vec<Finding>) -> Vec<Combination> {
    document.get("matrix").map_or_else(Vec::new, |node| matrix::combinations(node, &mut Decoder { findings }))
}

/// The one combination that `--matrix` chooses.
fn choose(
    document: &Node,
    all: &[Combination],
    wanted: &[String],
    findings: &mut Vec<Finding>,
) -> Combination {
    let before = findings.len();
    let mut left = matrix::select(all, wanted, findings);
    if left.len() > 1 {
        if let (Some(entry), true) = (document.entry("matrix"), findings.len() == before) {
            findings.push(
                Finding::error(
                    &entry.at,
                    format!("the matrix leaves {} combinations to choose from", left.len()),
                )
                .hint(format!("choose one, such as `{}`", matrix::options(&left[0]))),
            );
        }
        // The first one stands for all, so that the rest of the file can be checked too.
        left.truncate(1);
    }
    left.pop().unwrap_or_default()
}

fn build(
    path: &Path,
    document: &Node,
    overrides: &Overrides,
    mut findings: Vec<Finding>,
) -> Result<Pipeline, SpecError> {
    let matrix = all_combinations(document, &mut findings);
    let combination = choose(document, &matrix, &overrides.matrix, &mut findings);
    let mut scope = Scope { matrix: combination.clone(), env: overrides.env.clone(), ..Scope::default() };
    let known: Vec<_> = KEYS.to_vec();
    let mut decoder = Decoder { findings: &mut findings };
    // `x-...` keys hold anchors for the rest of the file, as in compose files.
    let own: Vec<_> =
        document.entries().iter().filter(|entry| !entry.key.starts_with("x-")).cloned().collect();
    decoder.fields(&Node { span: document.span.clone(), kind: Kind::Map(own) }, "a pipeline", &known);
    if let Some(vars) = document.get("vars").filter(|vars| !vars.is_null()) {
        scope.vars = self::vars(vars, &scope, &mut decoder);
    }
    for key in ["name", "target", "plugins", "charts", "state"] {
        if let Some(node) = document.get(key) {
            decoder.findings.extend(check::static_value(node, &scope));
        }
    }
    let name = name(document, path, &scope, &mut decoder);
    let target = document.entry("target").and_then(|entry| target(entry, &scope, &mut decoder));
    let plugins = document.get("plugins").map(|node| plugins(node, &scope, &mut decoder)).unwrap_or_default();
    let charts = decoder.path(document.entry("charts"), &scope);
    let state = document.get("state").map(|node| {
        decoder.fields(node, "`state`", &STATE_KEYS);
        decoder.evaluated(node.entry("namespace"), &scope)
    });
    let concurrency = decoder
        .count(document.entry("concurrency"), MAX_CONCURRENCY)
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(Pipeline::DEFAULT_CONCURRENCY);
    let steps = match document.entry("steps") {
        Some(entry) => steps::decode(entry, &mut decoder),
        None => {
            decoder.missing(&document.first(), "steps", "the pipeline");
            Vec::new()
        }
    };
    let mut pipeline = Pipeline {
        name,
        path: path.to_owned(),
        target,
        vars: scope.vars,
        env: overrides.env.clone(),
        combination,
        matrix,
        plugins,
        charts,
        state: State { namespace: state.flatten().unwrap_or_else(|| "default".into()) },
        concurrency,
        steps,
        warnings: Vec::new(),
    };
    check::steps(&pipeline, &mut findings);
    pipeline.warnings = settle(findings)?;
    Ok(pipeline)
}

/// The variables; their expressions can read the environment and the matrix.
fn vars(node: &Node, scope: &Scope, decoder: &mut Decoder<'_>) -> Map<String, Value> {
    let mut vars = Map::new();
    for entry in decoder.map(node, "`vars`") {
        let wrong = check::static_value(&entry.value, scope);
        let sound = wrong.is_empty();
        decoder.findings.extend(wrong);
        let mut resolver = Resolver::new(scope);
        vars.insert(entry.key.clone(), resolver.resolve(&entry.value));
        if sound {
            decoder.findings.extend(resolver.findings);
        }
    }
    vars
}

fn name(document: &Node, path: &Path, scope: &Scope, decoder: &mut Decoder<'_>) -> String {
    let (name, span) = match document.entry("name") {
        Some(entry) => match decoder.evaluated(Some(entry), scope) {
            Some(name) => (name, entry.place()),
            None => return String::new(),
        },
        None => {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            (stem, document.first())
        }
    };
    // The longest name that still fits into a Lease's name and a label's value with a prefix.
    const LONGEST: usize = 53;
    let is_label = !name.is_empty()
        && name.len() <= LONGEST
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !is_label {
        decoder.findings.push(
            Finding::error(&span, format!("`{name}` cannot be the name of a pipeline"))
                .hint(format!("`name:` takes at most {LONGEST} lower-case letters, digits and `-`")),
        );
    }
    name
}

fn target(entry: &Entry, scope: &Scope, decoder: &mut Decoder<'_>) -> Option<Target> {
    let node = &entry.value;
    decoder.fields(node, "`target`", &TARGET_KEYS);
    if node.entry("context").is_none() && node.entry("server").is_none() {
        decoder.findings.push(
            Finding::error(&entry.at, "`target` names no cluster")
                .hint("give it `context:`, `server:` or both".to_owned()),
        );
    }
    Some(Target {
        context: decoder.evaluated(node.entry("context"), scope),
        server: decoder.evaluated(node.entry("server"), scope),
    })
}

fn plugins(node: &Node, scope: &Scope, decoder: &mut Decoder<'_>) -> BTreeMap<String, PluginFile> {
    let mut plugins = BTreeMap::new();
    for entry in decoder.map(node, "`plugins`") {
        decoder.fields(&entry.value, &format!("plugin `{}`", entry.key), &PLUGIN_KEYS);
        if entry.value.entry("path").is_none() {
            decoder.missing(&entry.at, "path", &format!("plugin `{}`", entry.key));
        }
        let path = decoder.path(entry.value.entry("path"), scope);
        let digest = entry.value.entry("sha256");
        let sha256 = decoder.text(digest);
        if let (Some(text), Some(digest)) = (&sha256, digest)
            && (text.len() != 64 || !text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')))
        {
            decoder.findings.push(
                Finding::error(&digest.place(), "not a SHA-256 digest")
                    .hint("it has 64 digits of 0-9 and a-f, as `sha256sum` prints it".to_owned()),
            );
        }
        if let Some(path) = path {
            plugins.insert(entry.key.clone(), PluginFile { path, sha256 });
        }
    }
    plugins
}

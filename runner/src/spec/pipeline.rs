//! The pipeline as the rest of meshrun sees it: decoded, overridden, checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use meshrun_protocol::Diagnostic;
use serde_json::{Map, Value};

use super::{
    finding::Finding,
    node::Node,
    scope::Scope,
    source::{Place, Span},
};
use crate::ids::StepId;

/// A pipeline, ready to be planned.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Its name: a DNS label, unique in the cluster, because lock and inventory carry it.
    pub name: String,
    /// The file it was read from.
    pub path: PathBuf,
    /// The cluster it is meant for.
    pub target: Option<Target>,
    /// Variables, `--var` applied and expressions evaluated.
    pub vars: Map<String, Value>,
    /// Environment variables that expressions may read.
    pub env: BTreeMap<String, String>,
    /// The chosen combination of the matrix; empty where there is no matrix.
    pub combination: Map<String, Value>,
    /// All combinations of the matrix; empty where there is no matrix.
    pub matrix: Vec<Map<String, Value>>,
    /// Plugins by the name that `uses:` says, where they are not found by their name alone.
    pub plugins: BTreeMap<String, PluginFile>,
    /// Directory of vendored charts.
    pub charts: Option<PathBuf>,
    /// Where lock and inventory are kept.
    pub state: State,
    /// Steps that may run at the same time.
    pub concurrency: usize,
    /// The steps, in the order of the file.
    pub steps: Vec<Step>,
    /// What is worth knowing and stops nothing.
    pub warnings: Vec<Finding>,
}

/// Which cluster a pipeline is meant for; a run against another one is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The kubeconfig context.
    pub context: Option<String>,
    /// The address of the API server: `https://10.0.0.1:6443`.
    pub server: Option<String>,
}

/// Where a plugin is and what must be in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginFile {
    /// The shared library; relative paths start at the file that names it.
    pub path: PathBuf,
    /// SHA-256 of the library, in lower-case hex.
    pub sha256: Option<String>,
}

/// Where a run keeps what it must remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The namespace of lock and inventory.
    pub namespace: String,
}

/// One step of a pipeline.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its id, unique in the pipeline.
    pub id: StepId,
    /// What people call it.
    pub name: Option<String>,
    /// The plugin.
    pub uses: String,
    /// Steps that must be done first, as the file says.
    pub needs: Vec<StepId>,
    /// The needs, their needs and so on.
    pub ancestors: BTreeSet<StepId>,
    /// The condition as it was written, `${{ }}` taken off.
    pub condition: Option<String>,
    /// The configuration; strings still hold their expressions.
    pub with: Value,
    /// Time limit of the whole step.
    pub timeout: Duration,
    /// What happens after a failure that may pass.
    pub retry: Retry,
    /// Whether the pipeline goes on after this step failed.
    pub continue_on_error: bool,
    /// Where the plugin runs.
    pub isolation: Isolation,
    /// Where it stands in the file.
    pub place: Place,
    pub(super) source: Arc<StepSource>,
}

/// The places of a step.
#[derive(Debug)]
pub(super) struct StepSource {
    /// The value of `id`.
    pub(super) id: Span,
    /// The value of `uses`.
    pub(super) uses: Span,
    /// The key `with`, or the step where there is none.
    pub(super) with_key: Span,
    pub(super) with: Option<Node>,
    pub(super) condition: Option<Span>,
    /// The values of `needs`.
    pub(super) needs: Vec<Span>,
}

/// How often a step is tried, and the time between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How often it is tried in all; 1 tries once.
    pub attempts: u32,
    /// Time before the second attempt; it doubles from then on.
    pub backoff: Duration,
    /// The longest time between two attempts.
    pub max_backoff: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, backoff: Duration::from_secs(5), max_backoff: Duration::from_secs(60) }
    }
}

/// Where a plugin runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// In a child process: a crash of the plugin is an error of its step.
    #[default]
    Process,
    /// In meshrun itself, for debugging.
    InProcess,
}

impl Isolation {
    /// Every value and how it is written.
    pub(super) const NAMES: [(&'static str, Self); 2] =
        [("process", Self::Process), ("in-process", Self::InProcess)];
}

impl Pipeline {
    /// Steps that may run at the same time where the file does not say.
    pub const DEFAULT_CONCURRENCY: usize = 8;
    /// Time limit of a step where the file does not say.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

    /// The step of an id.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.id.as_str() == id)
    }

    /// What expressions can read before any step has run.
    pub fn scope(&self) -> Scope {
        Scope {
            vars: self.vars.clone(),
            matrix: self.combination.clone(),
            env: self.env.clone(),
            steps: BTreeMap::new(),
        }
    }
}

impl Step {
    /// Where the value at a JSON pointer into `with:` stands; the closest place above it that is in a file,
    /// where there is no such value.
    pub fn place_of(&self, pointer: &str) -> Place {
        self.span_of(pointer).place()
    }

    /// An error about the plugin that `uses:` names.
    pub fn error_of_uses(&self, message: impl Into<String>, hint: Option<String>) -> Finding {
        Finding::error(&self.source.uses, message).hint(hint)
    }

    /// The directory that relative paths of the step start from: that of the file it stands in.
    pub fn directory(&self) -> &Path {
        &self.source.uses.source.directory
    }

    /// Puts what a plugin said about the configuration where it belongs.
    pub fn finding(&self, diagnostic: &Diagnostic) -> Finding {
        Finding::from_diagnostic(diagnostic, Some(self.place_of(&diagnostic.path)))
    }

    pub(super) fn span_of(&self, pointer: &str) -> Span {
        let inside = self.source.with.as_ref().and_then(|with| with.place_of(pointer));
        inside.unwrap_or_else(|| self.source.with_key.clone())
    }

    /// As [`Step::place_of`], but the key and not its value.
    pub(super) fn key_span(&self, pointer: &str) -> Span {
        let inside = self.source.with.as_ref().and_then(|with| with.key_of(pointer));
        inside.unwrap_or_else(|| self.span_of(pointer))
    }
}

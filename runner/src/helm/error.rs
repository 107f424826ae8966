//! Why a chart cannot be used: what is wrong, what to do about it, and how meshrun ends.

use std::{io, path::PathBuf};

use crate::exit_code::ExitCode;

/// A chart that cannot be found, loaded, rendered or taken as Kubernetes objects.
#[derive(Debug, thiserror::Error)]
pub enum HelmError {
    /// There is no helm.
    #[error("helm is not on PATH")]
    Missing,
    /// The helm that was named is not there.
    #[error("helm `{}` does not exist or is not executable", path.display())]
    NotThere {
        /// Path as given.
        path: PathBuf,
    },
    /// The helm that was found is of a version that meshrun cannot work with.
    #[error("helm `{}` is {version}; meshrun works with 3.8 and newer, below 5", path.display())]
    WrongVersion {
        /// Path of the program.
        path: PathBuf,
        /// What it answers to `helm version`.
        version: String,
    },
    /// The program does not start.
    #[error("start helm `{}`", path.display())]
    Start {
        /// Path of the program.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No mirror and no repository has the chart.
    #[error("chart {chart} {}", places(mirrors, repository.as_ref()))]
    NotFound {
        /// Name and version.
        chart: String,
        /// Mirrors that were searched.
        mirrors: Vec<PathBuf>,
        /// The repository that was asked and what helm said.
        repository: Option<(String, String)>,
    },
    /// What lies at a path is no chart.
    #[error("`{}` is no chart: {problem}", path.display())]
    NoChart {
        /// Archive or directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// What lies at a path is another chart than the one asked for.
    #[error("`{}` holds chart {found}, not {wanted}", path.display())]
    OtherChart {
        /// Archive or directory.
        path: PathBuf,
        /// Name and version in its Chart.yaml.
        found: String,
        /// Name and version asked for.
        wanted: String,
    },
    /// The chart is not the one that the lock file pins.
    #[error(
        "chart {chart} at `{}` has the digest {digest}, but meshrun.lock pins {pinned}",
        path.display()
    )]
    Pinned {
        /// Name and version.
        chart: String,
        /// Archive or directory.
        path: PathBuf,
        /// Its digest.
        digest: String,
        /// The digest it must have.
        pinned: String,
    },
    /// The values of a release are no mapping.
    #[error("values of release {release} must be a mapping")]
    Values {
        /// Release name.
        release: String,
    },
    /// helm refuses to render the chart.
    #[error("helm cannot render chart {chart}: {message}")]
    Render {
        /// Name and version.
        chart: String,
        /// What helm says.
        message: String,
    },
    /// A rendered document is no YAML.
    #[error("chart {chart} renders invalid YAML in {template}{}: {message}", of(object))]
    Yaml {
        /// Name and version.
        chart: String,
        /// Template that rendered it.
        template: String,
        /// `Deployment istiod`, as far as it can be read; empty otherwise.
        object: String,
        /// What the parser says, with line and column in the document.
        message: String,
    },
    /// A rendered document is no Kubernetes object.
    #[error("chart {chart} renders something in {template} that is no Kubernetes object: it {problem}")]
    NoObject {
        /// Name and version.
        chart: String,
        /// Template that rendered it.
        template: String,
        /// `has no kind`.
        problem: String,
    },
    /// A label or an annotation is not text; the API server refuses it.
    #[error("chart {chart} renders {field} of {object} as {found}; Kubernetes takes text only")]
    NotText {
        /// Name and version.
        chart: String,
        /// `annotation "example.com/enabled"`.
        field: String,
        /// `Service istio-gateway`.
        object: String,
        /// `the boolean true`.
        found: String,
    },
    /// A list has two entries of the same key; server-side apply refuses it.
    #[error("chart {chart} renders the list key {key} twice in {object}")]
    DuplicateKey {
        /// Name and version.
        chart: String,
        /// `spec.template.spec.containers[name=discovery].env[name=A]`.
        key: String,
        /// `Deployment istiod`.
        object: String,
    },
    /// What should record a release cannot be read.
    #[error("{secret} is no Helm release record: {problem}")]
    Record {
        /// `Secret istio-system/sh.helm.release.v1.istiod.v1`.
        secret: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file cannot be read or written.
    #[error("{doing}")]
    File {
        /// What was being done.
        doing: String,
        /// What the system says; it names the file.
        source: io::Error,
    },
}

impl HelmError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Missing => "install helm 3.8 or newer, or say where it is: --helm PATH or MESHRUN_HELM",
            Self::NotThere { .. } => "correct --helm or MESHRUN_HELM",
            Self::WrongVersion { .. } => {
                "install a helm that fits, or say where one is: --helm PATH or MESHRUN_HELM"
            }
            Self::Start { .. } => "check that the file is a helm for this machine",
            Self::NotFound { repository: Some(_), .. } => {
                "run `meshrun vendor PIPELINE --to charts/` on a machine that has access, then pass --charts charts/"
            }
            Self::NotFound { .. } => {
                "pass --charts DIR with the chart in it, or name its repository in the step's `with:`"
            }
            Self::NoChart { .. } => "a chart is a directory or a .tgz archive with a Chart.yaml at its root",
            Self::OtherChart { found, wanted, .. } => {
                return Some(format!("ask for {found}, or point to a chart {wanted}"));
            }
            Self::Pinned { .. } => {
                "find out why the chart changed; if it was meant to, run `meshrun vendor` again to pin it anew"
            }
            Self::Values { .. } => "write `values` as a mapping of the chart's values",
            Self::Render { message, .. } => return Some(render_hint(message).into()),
            Self::Yaml { .. } => {
                "a value likely breaks the template's YAML: look for quotes, colons and line breaks in `values`"
            }
            Self::NoObject { .. } => "every document of a chart needs apiVersion, kind and metadata.name",
            Self::NotText { .. } => "write the value in quotes: \"true\"",
            Self::DuplicateKey { .. } => {
                "the chart sets it already: remove your copy from `values`, or use the chart's own value for it"
            }
            Self::Record { .. } => {
                "if nothing else needs it, delete the Secret: the release is then recorded from revision 1 on"
            }
            Self::File { .. } => return None,
        };
        Some(hint.into())
    }

    /// How meshrun ends.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Missing | Self::NotThere { .. } | Self::WrongVersion { .. } | Self::Start { .. } => {
                ExitCode::MissingTool
            }
            _ => ExitCode::BadInput,
        }
    }

    /// Adapts an error of the file system.
    pub(crate) fn file(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        |source| Self::File { doing, source }
    }
}

fn places(mirrors: &[PathBuf], repository: Option<&(String, String)>) -> String {
    let mirrors = match mirrors {
        [] => None,
        [mirror] => Some(format!("is not in mirror `{}`", mirror.display())),
        several => {
            let names: Vec<_> = several.iter().map(|mirror| format!("`{}`", mirror.display())).collect();
            Some(format!("is not in mirrors {}", names.join(", ")))
        }
    };
    let repository = repository
        .map(|(repository, message)| format!("repository {repository} does not give it: {message}"));
    match (mirrors, repository) {
        (Some(mirrors), Some(repository)) => format!("{mirrors} and {repository}"),
        (Some(mirrors), None) => format!("{mirrors} and no repository is named"),
        (None, Some(repository)) => format!("cannot be had: {repository}"),
        (None, None) => "cannot be had: no mirror and no repository is named".into(),
    }
}

fn of(object: &str) -> String {
    if object.is_empty() { String::new() } else { format!(" ({object})") }
}

fn render_hint(message: &str) -> &'static str {
    if message.contains("schema") {
        "the chart's values.schema.json refuses the step's `values`: correct the field it names"
    } else if message.contains("incompatible with Kubernetes") {
        "use a chart version that supports this cluster's version"
    } else if message.contains("missing in charts/ directory") {
        "the chart lacks its dependencies: run `helm dependency build` on it"
    } else if message.contains("YAML parse error") {
        "a value likely breaks the template's YAML: look for quotes, colons and line breaks in `values`"
    } else if message.starts_with("parse error") {
        "the chart's template is broken: use another version of the chart, or tell its author"
    } else {
        "the chart refuses the step's `values`, or does not know one of them"
    }
}

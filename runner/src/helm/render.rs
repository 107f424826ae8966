//! A chart and values to objects: by `helm template`, or from the cache without starting helm.

use std::sync::Arc;

use meshrun_protocol::{Diagnostic, Helm as Action};
use serde_json::{Value, json};

use super::{
    Capabilities, ChartArchive, Helm, HelmError, Hook,
    binary::{Binary, clean_message},
    blocking, cache, digest,
    manifest::{self, Parts},
};
use crate::cluster::Object;

/// Raised whenever what is cached would be read differently.
const CACHE_VERSION: u32 = 1;

/// A rendered release.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// Release name.
    pub release: String,
    /// Release namespace.
    pub namespace: String,
    /// The chart.
    pub chart: Arc<ChartArchive>,
    /// Objects of the chart's `crds/`: not part of the release, applied before it.
    pub crds: Vec<Object>,
    /// Objects of the release in helm's install order; those without a namespace may still need one.
    pub objects: Vec<Object>,
    /// Hooks.
    pub hooks: Vec<Hook>,
    /// The objects of the release as helm rendered them, for the release's record.
    pub manifest: String,
    /// The chart's notes.
    pub notes: String,
    /// The values given by the user.
    pub values: Value,
    /// What is worth knowing about the chart: `lookup` in a template.
    pub warnings: Vec<Diagnostic>,
}

impl Helm {
    /// Renders a release. The same rendering is done once per process, and taken from the cache on disk where a
    /// process before this one did it.
    ///
    /// Renderings with a Secret in them are not cached on disk: what a chart takes for secret never rests there.
    ///
    /// # Errors
    /// Where the chart cannot be had, helm is missing or refuses to render it, or it renders what an API server
    /// is bound to refuse.
    pub async fn render(
        &self,
        action: &Action,
        capabilities: &Capabilities,
        upgrade: bool,
    ) -> Result<Arc<Rendered>, HelmError> {
        let values = match &action.values {
            Value::Null => json!({}),
            Value::Object(_) => action.values.clone(),
            _ => return Err(HelmError::Values { release: action.release.clone() }),
        };
        let chart = self.chart(&action.chart).await?;
        let binary = self.binary().await?;
        let args = arguments(&chart, action, capabilities, upgrade);
        let values_json = canonical(&values).to_string();
        let key = key(&chart, &args, &values_json, &binary.version);
        let cell = self.renders.cell(key.clone());
        let rendered = cell
            .get_or_try_init(|| async {
                let parts = self.parts(binary, &chart, args, values_json, &key).await?;
                Ok::<_, HelmError>(Arc::new(Rendered {
                    release: action.release.clone(),
                    namespace: action.namespace.clone(),
                    crds: parts.crds,
                    objects: parts.objects,
                    hooks: parts.hooks,
                    manifest: parts.manifest,
                    notes: parts.notes,
                    warnings: parts.warnings,
                    chart: chart.clone(),
                    values,
                }))
            })
            .await?;
        Ok(rendered.clone())
    }

    async fn parts(
        &self,
        binary: &Binary,
        chart: &Arc<ChartArchive>,
        args: Vec<String>,
        values: String,
        key: &str,
    ) -> Result<Parts, HelmError> {
        let dir = self.options.cache.join("renders");
        let file = dir.join(format!("{key}.json"));
        let cached = file.clone();
        if let Some(parts) = blocking(move || cache::read::<Parts>(&cached)).await {
            tracing::debug!(chart = chart.title(), "rendering taken from the cache");
            return Ok(parts);
        }
        let rendering = template(binary, chart, args, values).await?;
        let chart = chart.clone();
        blocking(move || {
            let mut parts = manifest::take_apart(&chart.title(), &rendering)?;
            parts.warnings.extend(lookup_warning(&chart));
            if !holds_secret(&parts) {
                cache::write(&file, &parts);
                cache::prune(&dir);
            }
            Ok(parts)
        })
        .await
    }
}

/// Runs `helm template` on the chart, with a template added that prints the notes.
async fn template(
    binary: &Binary,
    chart: &Arc<ChartArchive>,
    args: Vec<String>,
    values: String,
) -> Result<String, HelmError> {
    let packed = chart.clone();
    let archive = blocking(move || {
        let mut archive = tempfile::Builder::new().prefix("meshrun-").suffix(".tgz").tempfile()?;
        let notes =
            packed.has("templates/NOTES.txt").then_some((manifest::NOTES_TEMPLATE, manifest::NOTES_TEXT));
        packed.pack(notes, &mut archive)?;
        Ok(archive)
    })
    .await
    .map_err(HelmError::file("write a chart for helm"))?;
    let mut args = args;
    args.insert(2, archive.path().display().to_string());
    // Values go through a pipe: they may hold secrets, and never lie in a file.
    args.extend(["--values".into(), "-".into()]);
    let output = binary.run(&args, Some(values.as_bytes())).await?;
    if output.success {
        Ok(output.stdout)
    } else {
        Err(HelmError::Render { chart: chart.title(), message: clean_message(&output.stderr) })
    }
}

/// Arguments of `helm template`, without the chart and the values.
fn arguments(
    chart: &ChartArchive,
    action: &Action,
    capabilities: &Capabilities,
    upgrade: bool,
) -> Vec<String> {
    let mut args: Vec<String> =
        ["template", &action.release, "--namespace", &action.namespace, "--include-crds"]
            .map(Into::into)
            .into();
    if !capabilities.kube_version.is_empty() {
        args.extend(["--kube-version".into(), capabilities.kube_version.clone()]);
    }
    // Left out where no template asks, so that a CRD more in the cluster does not render every chart anew.
    if chart.uses.api_versions && !capabilities.api_versions.is_empty() {
        let mut versions = capabilities.api_versions.clone();
        versions.sort();
        args.extend(["--api-versions".into(), versions.join(",")]);
    }
    if upgrade && chart.uses.upgrade {
        args.push("--is-upgrade".into());
    }
    args
}

fn key(chart: &ChartArchive, args: &[String], values: &str, helm: &str) -> String {
    let mut key = digest::Parts::default();
    let version = CACHE_VERSION.to_string();
    let parts = [version.as_str(), env!("CARGO_PKG_VERSION"), helm, &chart.digest, values];
    for part in parts.into_iter().chain(args.iter().map(String::as_str)) {
        key.add(part);
    }
    key.hex()
}

/// The value with the keys of its maps in order, so that equal values have equal text.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> =
                map.iter().map(|(key, value)| (key.clone(), canonical(value))).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => items.iter().map(canonical).collect(),
        other => other.clone(),
    }
}

fn holds_secret(parts: &Parts) -> bool {
    let hooks = parts.hooks.iter().map(|hook| &hook.object);
    parts.objects.iter().chain(hooks).any(|object| object.kind() == "Secret" && object.api_version() == "v1")
}

fn lookup_warning(chart: &ChartArchive) -> Option<Diagnostic> {
    let templates = &chart.uses.lookup;
    if templates.is_empty() {
        return None;
    }
    let message = format!(
        "chart {} looks up objects in the cluster ({}); meshrun renders without a cluster, so it finds none",
        chart.title(),
        templates.join(", ")
    );
    Some(
        Diagnostic::hint("", message)
            .with_code("helm/lookup")
            .with_hint("set in `values` what the chart would look up"),
    )
}

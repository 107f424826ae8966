//! Which provider names mean something: Istio's own and those of the mesh configuration.
//!
//! An unknown name is no error to Istio: an unknown tracing provider turns tracing off in the whole mesh, an unknown
//! log provider is skipped (`pilot/pkg/model/telemetry.go` of 1.19.3), and neither webhook nor `istioctl analyze` says so.

use meshrun_plugin_common::ControlPlane;
use meshrun_sdk::{
    prelude::{Cx, Diagnostic, Error, Result},
    serde::Deserialize,
};

use crate::config::Config;

/// Providers every mesh has (`pkg/config/mesh/mesh.go` of 1.19.3 and 1.30.3).
pub(crate) const BUILT_IN: &[&str] = &["prometheus", "stackdriver", "envoy"];

/// A provider that the configuration names, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    pub(crate) path: String,
}

/// Returns every provider that the configuration names.
pub(crate) fn named(config: &Config) -> Vec<Named<'_>> {
    let tracing = config.tracing.as_ref().map_or(&[][..], |tracing| &tracing.providers);
    let logging = config.access_logging.as_ref().map_or(&[][..], |logging| &logging.providers);
    [("metrics", config.metrics.providers.as_slice()), ("tracing", tracing), ("access_logging", logging)]
        .into_iter()
        .flat_map(|(section, names)| {
            names.iter().enumerate().map(move |(index, name)| (section, index, name))
        })
        .map(|(section, index, name)| Named { name, path: format!("/{section}/providers/{index}") })
        .collect()
}

/// Reads the names of the providers that the mesh configuration defines; `None` while there is none.
///
/// # Errors
/// When the cluster cannot be read, or the mesh configuration is no YAML.
pub(crate) fn in_cluster(cx: &Cx<'_>, plane: &ControlPlane) -> Result<Option<Vec<String>>> {
    let reference = plane.mesh_config();
    let Some(object) = cx.get(&reference)? else { return Ok(None) };
    let text = object["data"]["mesh"].as_str().unwrap_or_default();
    extension_providers(text)
        .map(Some)
        .map_err(|error| Error::new(format!("read key `mesh` of {reference}: {error}")))
}

/// The part of Istio's mesh configuration that counts here.
#[derive(Debug, Default, Deserialize)]
#[serde(crate = "meshrun_sdk::serde", default, rename_all = "camelCase")]
struct MeshConfig {
    extension_providers: Vec<Provider>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(crate = "meshrun_sdk::serde", default)]
struct Provider {
    name: String,
}

fn extension_providers(mesh: &str) -> std::result::Result<Vec<String>, String> {
    if mesh.trim().is_empty() {
        return Ok(Vec::new());
    }
    let config: MeshConfig = serde_saphyr::from_str(mesh).map_err(|error| error.to_string())?;
    Ok(config.extension_providers.into_iter().map(|provider| provider.name).collect())
}

/// Says which named providers are unknown. `known` holds those of the cluster, `None` while there is no mesh
/// configuration.
///
/// # Errors
/// When a provider is named that nobody defines: neither the pipeline nor the cluster.
pub(crate) fn judge(config: &Config, known: Option<&[String]>) -> Result<Vec<Diagnostic>> {
    let declared = config.extension_providers.as_deref().unwrap_or_default();
    let mut findings = Vec::new();
    for provider in named(config) {
        let has = |names: &[String]| names.iter().any(|name| name == provider.name);
        if BUILT_IN.contains(&provider.name) || known.is_some_and(has) {
            continue;
        }
        match known {
            Some(_) if has(declared) => findings.push(not_yet(&provider)),
            None if has(declared) => {}
            None if config.extension_providers.is_none() => findings.push(unjudged(&provider)),
            _ => return Err(refusal(&provider, &[known.unwrap_or_default(), declared].concat())),
        }
    }
    Ok(findings)
}

fn refusal(provider: &Named<'_>, defined: &[String]) -> Error {
    let finding = unknown(provider, defined);
    Error::new(finding.message).at(finding.path).with_hint(finding.hint.unwrap_or_default())
}

/// The finding about a provider that nobody defines.
pub(crate) fn unknown(provider: &Named<'_>, defined: &[String]) -> Diagnostic {
    let consequence = if provider.path.starts_with("/tracing") {
        "Istio would turn tracing off in the whole mesh"
    } else {
        "Istio would skip it silently"
    };
    let mut names: Vec<&str> = BUILT_IN.to_vec();
    names.extend(defined.iter().map(String::as_str).filter(|name| !BUILT_IN.contains(name)));
    Diagnostic::error(
        provider.path.clone(),
        format!("no provider `{}` is defined in the mesh; {consequence}", provider.name),
    )
    .with_code("istio/unknown-provider")
    .with_hint(format!(
        "define it under `extension_providers` of the istiod step; defined are {}",
        names.join(", ")
    ))
}

fn not_yet(provider: &Named<'_>) -> Diagnostic {
    Diagnostic::warning(
        provider.path.clone(),
        format!("the mesh configuration in the cluster does not define `{}` yet", provider.name),
    )
    .with_code("istio/unknown-provider")
    .with_hint("the istiod step of this pipeline must define it")
}

fn unjudged(provider: &Named<'_>) -> Diagnostic {
    Diagnostic::warning(
        provider.path.clone(),
        format!("whether `{}` is defined is not known: there is no mesh configuration yet", provider.name),
    )
    .with_code("istio/unknown-provider")
    .with_hint("set `extension_providers: ${{ steps.istiod.outputs.extension_providers }}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_provider_names_of_a_mesh_configuration() {
        let mesh = "defaultConfig:\n  tracing: {}\nextensionProviders:\n- name: tempo\n  opentelemetry:\n    port: 4317\n\
                    - name: otel\n  envoyOtelAls: {}\nrootNamespace: istio-system\n";
        assert_eq!(extension_providers(mesh), Ok(vec!["tempo".to_owned(), "otel".to_owned()]));
        assert_eq!(extension_providers("rootNamespace: istio-system"), Ok(vec![]));
        assert_eq!(extension_providers(""), Ok(vec![]));
    }
}

//! What `helm template` prints, taken apart: CRDs, objects of the release, hooks, notes, and the manifest to record.

use meshrun_protocol::Diagnostic;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{HelmError, Hook, check, yaml};
use crate::cluster::Object;

/// Template that meshrun adds to a chart, because `helm template` does not print the notes.
pub(crate) const NOTES_TEMPLATE: &str = "templates/zz-meshrun-notes.yaml";

/// Its text: a document that carries the notes and never reaches a cluster.
pub(crate) const NOTES_TEXT: &str = r#"apiVersion: meshrun/v1
kind: Notes
text: {{ include (print .Template.BasePath "/NOTES.txt") . | toJson }}
"#;

/// A rendering, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parts {
    /// Objects of `crds/`, which are not part of the release.
    pub(crate) crds: Vec<Object>,
    /// Objects of the release, in helm's install order.
    pub(crate) objects: Vec<Object>,
    pub(crate) hooks: Vec<Hook>,
    /// The documents of the release as rendered: what helm keeps in its record.
    pub(crate) manifest: String,
    pub(crate) notes: String,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// One document of the rendering.
struct Document<'a> {
    /// `istiod/templates/deployment.yaml`; CRD files of several documents name it once.
    source: &'a str,
    /// The document, without the `---` above it.
    text: &'a str,
}

/// Takes apart what helm printed for a chart (`istiod 1.19.3`).
///
/// # Errors
/// Where a document is no YAML, no Kubernetes object, or one that an API server is bound to refuse.
pub(crate) fn take_apart(chart: &str, rendering: &str) -> Result<Parts, HelmError> {
    let mut parts = Parts::default();
    for document in documents(rendering) {
        let value = yaml::parse(document.text).map_err(|message| HelmError::Yaml {
            chart: chart.into(),
            template: document.source.into(),
            object: guess_object(document.text),
            message,
        })?;
        if document.source.ends_with(NOTES_TEMPLATE) {
            parts.notes = value["text"].as_str().unwrap_or_default().into();
            continue;
        }
        let is_crd = is_crd(document.source);
        let mut is_hook = false;
        for value in items(value) {
            let object = Object::new(value).map_err(|problem| HelmError::NoObject {
                chart: chart.into(),
                template: document.source.into(),
                problem,
            })?;
            let object = check::clean(chart, object)?;
            if is_crd {
                parts.crds.push(object);
            } else if Hook::is_hook(&object) {
                is_hook = true;
                let name = format!("{} {}", object.kind(), object.name());
                match Hook::new(object, document.source.into(), document.text.into()) {
                    Some(hook) => parts.hooks.push(hook),
                    None => parts.warnings.push(
                        Diagnostic::warning(
                            "",
                            format!("chart {chart}: {name} is a hook of an unknown kind and left out"),
                        )
                        .with_code("helm/hook"),
                    ),
                }
            } else {
                parts.objects.push(object);
            }
        }
        if !is_crd && !is_hook {
            parts.manifest.push_str("---\n");
            parts.manifest.push_str(document.text);
            if !document.text.ends_with('\n') {
                parts.manifest.push('\n');
            }
        }
    }
    Ok(parts)
}

/// Reads the objects of a recorded manifest. Takes what an old helm took: keys twice, values that are no text.
///
/// # Errors
/// Where a document is no YAML.
pub(crate) fn objects(chart: &str, manifest: &str) -> Result<Vec<Object>, HelmError> {
    let mut objects = Vec::new();
    for document in documents(manifest) {
        let value = yaml::parse_lenient(document.text).map_err(|message| HelmError::Yaml {
            chart: chart.into(),
            template: document.source.into(),
            object: guess_object(document.text),
            message,
        })?;
        objects.extend(items(value).into_iter().filter_map(|value| Object::new(value).ok()));
    }
    Ok(objects)
}

/// Splits at lines that start with `---`.
fn documents(rendering: &str) -> impl Iterator<Item = Document<'_>> {
    let mut source = "";
    split(rendering).filter(|text| !text.trim().is_empty()).map(move |text| {
        if let Some(named) = text.lines().next().and_then(|line| line.strip_prefix("# Source: ")) {
            source = named.trim_end();
        }
        Document { source, text }
    })
}

fn split(rendering: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(rendering);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut from = 0;
        let end = loop {
            if is_separator(&text[from..]) {
                break Some(from);
            }
            match text[from..].find('\n') {
                Some(line) => from += line + 1,
                None => break None,
            }
        };
        let (document, next) = match end {
            Some(end) => (&text[..end], Some(text[end..].split_once('\n').map_or("", |(_, next)| next))),
            None => (text, None),
        };
        rest = next;
        Some(document)
    })
}

fn is_separator(text: &str) -> bool {
    text.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(['\n', '\r', ' ', '\t']))
}

/// Whether a source lies in the `crds/` of the chart or of a subchart: `base/crds/crd-all.gen.yaml`.
fn is_crd(source: &str) -> bool {
    let mut parts = source.split('/').skip(1);
    loop {
        match parts.next() {
            Some("charts") => drop(parts.next()),
            part => return part == Some("crds"),
        }
    }
}

/// The objects of a document: none where it is empty, several where it is a `List`.
fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Object(mut map)
            if map.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List")) =>
        {
            match map.remove("items") {
                Some(Value::Array(items)) => items,
                _ => vec![map.into()],
            }
        }
        value => vec![value],
    }
}

/// Kind and name of a document that is no YAML, as far as its lines show them.
fn guess_object(text: &str) -> String {
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().trim_matches('"'))
    };
    match (field("kind:"), field("  name:")) {
        (Some(kind), Some(name)) => format!("{kind} {name}"),
        (Some(kind), None) => kind.into(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helm::HookEvent;

    const RENDERING: &str = "\
---
# Source: mesh/crds/all.yaml
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: a.example.com }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: b.example.com }
---
# Source: mesh/templates/config.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: config
  annotations:
data:
  text: |
    --- not a separator
  mode: \"0644\"
---
# Source: mesh/templates/empty.yaml
# only a comment
---
# Source: mesh/templates/list.yaml
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ServiceAccount
  metadata: { name: one }
- apiVersion: v1
  kind: ServiceAccount
  metadata: { name: two }
---
# Source: mesh/templates/zz-meshrun-notes.yaml
apiVersion: meshrun/v1
kind: Notes
text: \"line one\\nline two\"
---
# Source: mesh/templates/job.yaml
apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations:
    helm.sh/hook: pre-install, pre-upgrade
    helm.sh/hook-weight: \"-5\"
    helm.sh/hook-delete-policy: hook-succeeded
---
# Source: mesh/templates/old.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: old
  annotations:
    helm.sh/hook: crd-install
";

    #[test]
    fn takes_a_rendering_apart() {
        let parts = take_apart("mesh 1.0.0", RENDERING).expect("the rendering is valid");
        let names = |objects: &[Object]| objects.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            names(&parts.crds),
            ["CustomResourceDefinition a.example.com", "CustomResourceDefinition b.example.com"]
        );
        assert_eq!(names(&parts.objects), ["ConfigMap config", "ServiceAccount one", "ServiceAccount two"]);
        assert_eq!(parts.notes, "line one\nline two");
        let [hook] = parts.hooks.as_slice() else { panic!("one hook") };
        assert_eq!(hook.events, [HookEvent::PreInstall, HookEvent::PreUpgrade]);
        assert_eq!((hook.weight, hook.path.as_str()), (-5, "mesh/templates/job.yaml"));
        assert_eq!(
            parts.warnings[0].message,
            "chart mesh 1.0.0: ConfigMap old is a hook of an unknown kind and left out"
        );
        insta::assert_snapshot!(parts.manifest);
    }

    #[test]
    fn drops_rendered_nulls() {
        let parts = take_apart("mesh 1.0.0", RENDERING).expect("the rendering is valid");
        assert_eq!(parts.objects[0].at("/metadata/annotations"), None);
    }

    fn refused(document: &str) -> String {
        let rendering = format!("---\n# Source: mesh/templates/a.yaml\n{document}");
        let error = take_apart("mesh 1.0.0", &rendering).expect_err("the document is bad");
        format!("{error}\nhint: {}", error.hint().unwrap_or_default())
    }

    #[test]
    fn says_where_yaml_is_broken() {
        insta::assert_snapshot!(refused("kind: Service\nmetadata:\n  name: a\n  labels: {a: b: c}\n"));
    }

    #[test]
    fn refuses_a_key_twice_in_a_mapping() {
        insta::assert_snapshot!(refused("kind: ConfigMap\nmetadata:\n  name: a\ndata: {}\ndata: {}\n"));
    }

    #[test]
    fn refuses_what_is_no_object() {
        insta::assert_snapshot!(refused("apiVersion: v1\nmetadata: { name: a }\n"));
    }

    #[test]
    fn refuses_an_annotation_that_is_no_text() {
        insta::assert_snapshot!(refused(
            "apiVersion: v1\nkind: Service\nmetadata: { name: a, annotations: { example.com/on: true } }\n"
        ));
    }

    #[test]
    fn refuses_an_environment_variable_twice() {
        insta::assert_snapshot!(refused(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: istiod }\nspec: { template: { spec: { containers: \
             [{ name: discovery, env: [{ name: A }, { name: B }, { name: A }] }] } } }\n"
        ));
    }

    #[test]
    fn refuses_a_service_port_twice_but_not_with_another_protocol() {
        let service = |second: &str| {
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{ name: dns }}\nspec: {{ ports: [{{ port: 53, name: a }}, {second}] }}\n"
            )
        };
        assert!(take_apart("mesh 1.0.0", &service("{ port: 53, name: b, protocol: UDP }")).is_ok());
        insta::assert_snapshot!(refused(&service("{ port: 53, name: b, protocol: TCP }")));
    }
}

//! Which namespaces and pods are this istiod's.

use std::collections::BTreeSet;

use meshrun_plugin_common::{ControlPlane, list};
use meshrun_sdk::prelude::{Cx, Result, Value};

use crate::Config;

/// Label of a namespace that asks for the default revision.
pub(super) const INJECTION_LABEL: &str = "istio-injection";
/// Label of a namespace or pod that asks for a revision or tag; annotation of a pod that says which one it got.
pub(super) const REVISION_LABEL: &str = "istio.io/rev";
/// Label of what makes a revision tag.
const TAG_LABEL: &str = "istio.io/tag";
const DEFAULT: &str = "default";

/// One istiod and the names by which namespaces ask for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reach {
    /// The istiod.
    pub(super) plane: ControlPlane,
    /// Its revision and its tags.
    names: BTreeSet<String>,
    /// The webhooks of its tags.
    pub(super) tags: Vec<Value>,
}

impl Reach {
    /// Reads which tags lead to the istiod: those of the configuration, and those that somebody moved since.
    ///
    /// # Errors
    /// When the cluster cannot be read.
    pub(super) fn read(config: &Config, cx: &Cx<'_>) -> Result<Self> {
        let plane = config.control_plane();
        let mut names: BTreeSet<String> = config.revision_tags.iter().cloned().collect();
        names.insert(plane.rev().to_owned());
        let webhooks = list(cx, "admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", None, "")?;
        let (tags, others): (Vec<Value>, Vec<Value>) = webhooks
            .into_iter()
            .filter(|webhook| label(webhook, TAG_LABEL).is_some())
            .partition(|webhook| label(webhook, REVISION_LABEL) == Some(plane.rev()));
        names.extend(tags.iter().filter_map(|tag| label(tag, TAG_LABEL)).map(str::to_owned));
        for tag in others.iter().filter_map(|tag| label(tag, TAG_LABEL)) {
            names.remove(tag);
        }
        Ok(Self { plane, names, tags })
    }

    /// Labels of a namespace that ask for this istiod; none of the mesh's own namespace.
    pub(super) fn asked_by(&self, namespace: &Value) -> Vec<&'static str> {
        if namespace["metadata"]["name"] == self.plane.namespace.as_str() {
            return Vec::new();
        }
        let enabled = label(namespace, INJECTION_LABEL) == Some("enabled") && self.names.contains(DEFAULT);
        let named = label(namespace, REVISION_LABEL).is_some_and(|name| self.names.contains(name));
        [(INJECTION_LABEL, enabled), (REVISION_LABEL, named)]
            .into_iter()
            .filter_map(|(label, asks)| asks.then_some(label))
            .collect()
    }

    /// Whether this istiod injected a pod. One that does not say is its namespace's.
    pub(super) fn injected(&self, pod: &Value, in_asking_namespace: bool) -> bool {
        match pod["metadata"]["annotations"][REVISION_LABEL].as_str() {
            Some(revision) => revision == self.plane.rev(),
            None => in_asking_namespace,
        }
    }

    /// Whether a pod template asks for this istiod by itself, whatever its namespace says.
    pub(super) fn asked_by_template(&self, template: &Value) -> bool {
        match label(template, REVISION_LABEL) {
            Some(name) => self.names.contains(name),
            None => {
                label(template, "sidecar.istio.io/inject") == Some("true") && self.names.contains(DEFAULT)
            }
        }
    }
}

fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["labels"][key].as_str()
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{prelude::json, testing::FakeCluster};

    use super::{
        super::tests::{config, namespace, tag},
        *,
    };

    fn asked_by(with: Value, cluster: &FakeCluster, labels: Value) -> Result<Vec<&'static str>> {
        let reach = Reach::read(&config(with), &cluster.cx("istiod"))?;
        Ok(reach.asked_by(&namespace("shop", labels)))
    }

    #[test]
    fn default_istiod_has_the_injection_label_and_its_revision() -> Result<()> {
        let cluster = FakeCluster::new();
        let asked_by = |labels| asked_by(json!({}), &cluster, labels);
        assert_eq!(asked_by(json!({ "istio-injection": "enabled" }))?, ["istio-injection"]);
        assert_eq!(asked_by(json!({ "istio.io/rev": "default" }))?, ["istio.io/rev"]);
        assert!(asked_by(json!({ "istio-injection": "disabled" }))?.is_empty());
        assert!(asked_by(json!({ "istio.io/rev": "1-30" }))?.is_empty());
        Ok(())
    }

    #[test]
    fn revision_has_its_name_and_its_tags() -> Result<()> {
        let with = || json!({ "revision": "1-30", "revision_tags": ["prod", "moved"] });
        let cluster = FakeCluster::new().with(tag("stable", "1-30")).with(tag("moved", "1-31"));
        let asked_by = |name: &str| asked_by(with(), &cluster, json!({ "istio.io/rev": name }));
        for name in ["1-30", "prod", "stable"] {
            assert_eq!(asked_by(name)?, ["istio.io/rev"], "{name}");
        }
        for name in ["default", "1-31", "moved"] {
            assert!(asked_by(name)?.is_empty(), "{name}");
        }
        Ok(())
    }

    #[test]
    fn injection_label_follows_the_tag_default() -> Result<()> {
        let cluster = FakeCluster::new().with(tag("default", "1-30"));
        let enabled = || json!({ "istio-injection": "enabled" });
        assert!(asked_by(json!({}), &cluster, enabled())?.is_empty());
        assert_eq!(asked_by(json!({ "revision": "1-30" }), &cluster, enabled())?, ["istio-injection"]);
        assert!(asked_by(json!({ "revision": "1-31" }), &cluster, enabled())?.is_empty());
        Ok(())
    }
}

//! Names that Istio's charts give to the objects of a control plane, by its namespace and revision.

use meshrun_sdk::prelude::{Cx, ObjectRef, Result};

use crate::IstioVersion;

const ADMISSION: &str = "admissionregistration.k8s.io/v1";

/// One istiod: where it lives and which revision it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlane {
    /// Namespace of the release.
    pub namespace: String,
    /// Revision; `None` for the default one.
    pub revision: Option<String>,
}

impl ControlPlane {
    /// Names a control plane; the revisions `default` and the empty one are the default one.
    pub fn new(namespace: &str, revision: Option<&str>) -> Self {
        let revision = revision.filter(|revision| !matches!(*revision, "" | "default")).map(str::to_owned);
        Self { namespace: namespace.to_owned(), revision }
    }

    /// Value of the label `istio.io/rev`: `default` or the revision.
    pub fn rev(&self) -> &str {
        self.revision.as_deref().unwrap_or("default")
    }

    /// Name of Deployment, Service and HPA: `istiod` or `istiod-<revision>`.
    pub fn istiod(&self) -> String {
        self.suffixed("istiod")
    }

    /// The Deployment.
    pub fn deployment(&self) -> ObjectRef {
        ObjectRef::namespaced("apps/v1", "Deployment", &self.namespace, self.istiod())
    }

    /// Label selector of istiod's pods.
    pub fn pod_selector(&self) -> String {
        format!("app=istiod,istio.io/rev={}", self.rev())
    }

    /// The ConfigMap with the mesh configuration (key `mesh`).
    pub fn mesh_config(&self) -> ObjectRef {
        ObjectRef::namespaced("v1", "ConfigMap", &self.namespace, self.suffixed("istio"))
    }

    /// The webhook that injects proxies. Its name carries the namespace unless that is `istio-system`.
    pub fn injector(&self) -> ObjectRef {
        let name = self.suffixed("istio-sidecar-injector");
        let name = match self.namespace.as_str() {
            "istio-system" => name,
            namespace => format!("{name}-{namespace}"),
        };
        ObjectRef::cluster(ADMISSION, "MutatingWebhookConfiguration", name)
    }

    /// The webhook of istio-base that validates Istio's objects.
    pub fn default_validator() -> ObjectRef {
        ObjectRef::cluster(ADMISSION, "ValidatingWebhookConfiguration", "istiod-default-validator")
    }

    /// The validating webhook that the istiod chart brings by itself, from 1.22 on.
    pub fn revision_validator(&self, version: &IstioVersion) -> Option<ObjectRef> {
        version.at_least(1, 22).then(|| {
            let name = format!("{}-{}", self.suffixed("istio-validator"), self.namespace);
            ObjectRef::cluster(ADMISSION, "ValidatingWebhookConfiguration", name)
        })
    }

    /// Validating webhooks that this istiod is responsible for: objects applied before they fail closed are not
    /// validated. The default one counts where it leads here; where `istio-base` is still to come it is taken to lead
    /// to the default revision.
    ///
    /// # Errors
    /// When the cluster cannot be read.
    pub fn validators(&self, version: &IstioVersion, cx: &Cx<'_>) -> Result<Vec<ObjectRef>> {
        let default = Self::default_validator();
        let ours = match cx.get(&default)? {
            Some(webhook) => {
                webhook["webhooks"][0]["clientConfig"]["service"]["name"] == self.istiod().as_str()
            }
            None => self.revision.is_none() && !cx.serves(version.networking_api(), "Gateway")?,
        };
        Ok(ours.then_some(default).into_iter().chain(self.revision_validator(version)).collect())
    }

    fn suffixed(&self, name: &str) -> String {
        match &self.revision {
            Some(revision) => format!("{name}-{revision}"),
            None => name.to_owned(),
        }
    }
}

/// CRDs of every Istio from 1.19 on.
pub const CRDS: &[&str] = &[
    "authorizationpolicies.security.istio.io",
    "destinationrules.networking.istio.io",
    "envoyfilters.networking.istio.io",
    "gateways.networking.istio.io",
    "peerauthentications.security.istio.io",
    "proxyconfigs.networking.istio.io",
    "requestauthentications.security.istio.io",
    "serviceentries.networking.istio.io",
    "sidecars.networking.istio.io",
    "telemetries.telemetry.istio.io",
    "virtualservices.networking.istio.io",
    "wasmplugins.extensions.istio.io",
    "workloadentries.networking.istio.io",
    "workloadgroups.networking.istio.io",
];

/// CRDs that the chart `base` brings at a version.
pub fn crds(version: &IstioVersion) -> Vec<&'static str> {
    let operator = (!version.at_least(1, 21)).then_some("istiooperators.install.istio.io");
    let extensions = version.at_least(1, 30).then_some("trafficextensions.extensions.istio.io");
    CRDS.iter().copied().chain(operator).chain(extensions).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_revision_has_plain_names() {
        let plane = ControlPlane::new("istio-system", Some(""));
        assert_eq!(plane, ControlPlane::new("istio-system", Some("default")));
        assert_eq!(plane.deployment().to_string(), "Deployment istio-system/istiod");
        assert_eq!(plane.injector().to_string(), "MutatingWebhookConfiguration istio-sidecar-injector");
        assert_eq!(plane.pod_selector(), "app=istiod,istio.io/rev=default");
    }

    #[test]
    fn revision_and_namespace_are_in_the_names() {
        let plane = ControlPlane::new("mesh", Some("1-30"));
        assert_eq!(plane.deployment().to_string(), "Deployment mesh/istiod-1-30");
        assert_eq!(plane.injector().name, "istio-sidecar-injector-1-30-mesh");
        assert_eq!(plane.mesh_config().name, "istio-1-30");
        let version = "1.30.3".parse().expect("a version");
        assert_eq!(
            plane.revision_validator(&version).map(|object| object.name).as_deref(),
            Some("istio-validator-1-30-mesh")
        );
    }

    #[test]
    fn old_charts_bring_no_validator_of_their_own() {
        let version = "1.19.3".parse().expect("a version");
        assert_eq!(ControlPlane::new("istio-system", None).revision_validator(&version), None);
    }
}

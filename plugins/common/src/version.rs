//! Istio versions: which APIs they serve, which Kubernetes they need, and whether they still get fixes.

use std::{borrow::Cow, fmt};

use meshrun_sdk::{
    prelude::Diagnostic,
    schemars::{JsonSchema, Schema, SchemaGenerator, json_schema},
    serde::{Deserialize, Deserializer, de},
};

use crate::releases::{RELEASES, Release, known_minors, release_of};

/// An exact Istio version: `1.19.3`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IstioVersion {
    text: String,
    major: u32,
    minor: u32,
    patch: u32,
}

/// Text that is no exact version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownVersion(String);

impl fmt::Display for UnknownVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not an exact Istio version such as `1.30.3`", self.0)
    }
}

impl std::error::Error for UnknownVersion {}

impl std::str::FromStr for IstioVersion {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let unknown = || UnknownVersion(text.to_owned());
        let core = text.split_once('-').map_or(text, |(core, _)| core);
        let parts: Vec<u32> =
            core.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| unknown())?;
        match parts[..] {
            [major, minor, patch] => Ok(Self { text: text.to_owned(), major, minor, patch }),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for IstioVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl IstioVersion {
    /// The version as chart repositories write it: `1.19.3`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Major and minor: `(1, 19)`.
    pub fn minor(&self) -> (u32, u32) {
        (self.major, self.minor)
    }

    /// Major, minor and patch: `(1, 19, 3)`. A pre-release counts as its patch.
    pub fn number(&self) -> (u32, u32, u32) {
        (self.major, self.minor, self.patch)
    }

    /// Whether its minor is more than `minors` minors later than the other's; another major is always too far.
    pub fn is_ahead_of(&self, other: &Self, minors: u32) -> bool {
        match self.major == other.major {
            true => self.minor > other.minor + minors,
            false => self.major > other.major,
        }
    }

    /// What is known of its minor.
    pub fn release(&self) -> Option<&'static Release> {
        (self.major == 1).then(|| release_of(self.minor))?
    }

    /// Whether it is of this minor or a later one; a pre-release counts as its minor.
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        self.minor() >= (major, minor)
    }

    /// `apiVersion` of Gateway, VirtualService, DestinationRule: `v1` is served from 1.22 on.
    pub fn networking_api(&self) -> &'static str {
        if self.at_least(1, 22) { "networking.istio.io/v1" } else { "networking.istio.io/v1beta1" }
    }

    /// `apiVersion` of PeerAuthentication and AuthorizationPolicy: `v1` is served for both from 1.22 on.
    pub fn security_api(&self) -> &'static str {
        if self.at_least(1, 22) { "security.istio.io/v1" } else { "security.istio.io/v1beta1" }
    }

    /// `apiVersion` of Telemetry: `v1` is served from 1.22 on.
    pub fn telemetry_api(&self) -> &'static str {
        if self.at_least(1, 22) { "telemetry.istio.io/v1" } else { "telemetry.istio.io/v1alpha1" }
    }

    /// The oldest Kubernetes minor it installs on; for an Istio later than the known ones, that of the newest known.
    pub fn kubernetes_floor(&self) -> Option<u32> {
        let known = RELEASES.iter().rev();
        known.filter(|release| self.at_least(1, release.minor)).map(|release| release.kubernetes_floor).next()
    }

    /// A warning where the version gets no fixes any more.
    pub fn support(&self, path: &str) -> Option<Diagnostic> {
        let last = known_minors().1;
        let first = RELEASES.iter().find(|release| release.supported).map_or(last, |release| release.minor);
        (!self.at_least(1, first)).then(|| {
            Diagnostic::warning(
                path,
                format!("Istio {}.{} gets no security fixes any more", self.major, self.minor),
            )
            .with_code("istio/end-of-life")
            .with_hint(format!("supported minors are 1.{first} to 1.{last}; upgrade one minor at a time"))
        })
    }

    /// An error where the cluster is too old for the version. `kubernetes` is what the cluster says: `v1.34.1`.
    pub fn kubernetes(&self, path: &str, kubernetes: &str) -> Option<Diagnostic> {
        let minor = kubernetes_minor(kubernetes)?;
        let floor = self.kubernetes_floor()?;
        (minor < floor).then(|| {
            Diagnostic::error(
                path,
                format!("Istio {self} needs Kubernetes 1.{floor}, the cluster has {kubernetes}"),
            )
            .with_code("istio/kubernetes-version")
            .with_hint("upgrade the cluster, or pick an Istio version that was tested on it")
        })
    }

    /// A warning where the cluster is newer than those that the version was tested on.
    pub fn untested(&self, path: &str, kubernetes: &str) -> Option<Diagnostic> {
        let (minor, release) = (kubernetes_minor(kubernetes)?, self.release()?);
        (minor > release.kubernetes.1).then(|| {
            Diagnostic::warning(path, format!("Istio {self} was not tested on Kubernetes {kubernetes}"))
                .with_code("istio/kubernetes-untested")
                .with_hint(format!("it was tested on {}", release.kubernetes_range()))
        })
    }
}

/// Minor of a Kubernetes version as clusters and people write it: 34 of `v1.34.1-eks-2d5f260` and `1.34`.
pub fn kubernetes_minor(version: &str) -> Option<u32> {
    let minor = version.trim_start_matches('v').split('.').nth(1)?;
    minor.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

impl<'de> Deserialize<'de> for IstioVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for IstioVersion {
    fn schema_name() -> Cow<'static, str> {
        "IstioVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An exact Istio version: 1.30.3.",
            "type": "string",
            "pattern": "^[0-9]+\\.[0-9]+\\.[0-9]+(-.+)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> IstioVersion {
        text.parse().expect("a version")
    }

    #[test]
    fn compares_by_minor() {
        assert!(version("1.30.3").at_least(1, 22));
        assert!(version("1.22.0-rc.1").at_least(1, 22));
        assert!(!version("1.9.9").at_least(1, 19));
        assert!(version("1.30.0").is_ahead_of(&version("1.28.10"), 1));
        assert!(!version("1.30.3").is_ahead_of(&version("1.29.6"), 1));
        assert!(!version("1.29.6").is_ahead_of(&version("1.30.3"), 0));
    }

    #[test]
    fn apis_follow_the_version() {
        assert_eq!(version("1.19.3").networking_api(), "networking.istio.io/v1beta1");
        assert_eq!(version("1.19.3").telemetry_api(), "telemetry.istio.io/v1alpha1");
        assert_eq!(version("1.22.0").networking_api(), "networking.istio.io/v1");
        assert_eq!(version("1.30.3").security_api(), "security.istio.io/v1");
    }

    #[test]
    fn refuses_what_is_no_exact_version() {
        for text in ["1.19", "v1.19.3", "latest", "1.x.3", ""] {
            let error = text.parse::<IstioVersion>().expect_err("no exact version").to_string();
            assert_eq!(error, format!("`{text}` is not an exact Istio version such as `1.30.3`"));
        }
    }

    #[test]
    fn warns_of_versions_without_fixes() {
        let warning = version("1.19.3").support("/version").expect("1.19 is out of support");
        assert_eq!(warning.message, "Istio 1.19 gets no security fixes any more");
        assert_eq!(version("1.30.3").support("/version"), None);
    }

    #[test]
    fn refuses_clusters_that_are_too_old() {
        let error = version("1.30.3").kubernetes("/version", "v1.31.4-eks-2d5f260").expect("too old");
        assert_eq!(error.message, "Istio 1.30.3 needs Kubernetes 1.32, the cluster has v1.31.4-eks-2d5f260");
        assert_eq!(version("1.30.3").kubernetes("/version", "v1.32.0"), None);
        assert_eq!(version("1.19.3").kubernetes("/version", "v1.25+"), None);
        assert_eq!(version("1.35.0").kubernetes_floor(), Some(32));
        assert_eq!(version("1.18.2").kubernetes_floor(), None);
    }

    #[test]
    fn warns_of_clusters_that_are_too_new() {
        let warning = version("1.19.3").untested("/version", "v1.34.1").expect("untested");
        assert_eq!(warning.message, "Istio 1.19.3 was not tested on Kubernetes v1.34.1");
        assert_eq!(warning.hint.as_deref(), Some("it was tested on 1.25 to 1.28"));
        assert_eq!(version("1.30.3").untested("/version", "v1.36.1"), None);
        assert_eq!(version("1.31.0").untested("/version", "v1.40.0"), None);
    }
}

//! The minors of Istio that are known here: newest patch, Kubernetes versions, fixes, and what changes with each.
//!
//! Sources, read in August 2026: tags of istio/istio, `MinK8SVersion` in `istioctl/pkg/install/k8sversion` at each
//! `.0`, the table of supported releases on istio.io, and `releasenotes/notes` (upgrade notes).

/// What is known of one minor of Istio 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// Its number: 30 of 1.30.
    pub minor: u32,
    /// Newest patch.
    pub newest: &'static str,
    /// Oldest Kubernetes minor that it installs on.
    pub kubernetes_floor: u32,
    /// First and last Kubernetes minor that it is tested on.
    pub kubernetes: (u32, u32),
    /// Whether it gets security fixes; every minor does for about eight months.
    pub supported: bool,
    /// What behaves differently from here on, or must be done before: lower-case fragments.
    pub notes: &'static [&'static str],
}

/// All of them, oldest first, without gaps.
pub const RELEASES: &[Release] = &[
    release(19, "1.19.10", 25, (25, 28), &[]),
    release(
        20,
        "1.20.8",
        25,
        (25, 29),
        &[
            "proxies get a startup probe, and EnvoyFilters that insert filters may take effect in another order",
        ],
    ),
    release(
        21,
        "1.21.6",
        26,
        (26, 29),
        &[
            "TLS to the outside verifies the server's certificate (VERIFY_CERT_AT_CLIENT) and sends SNI by default",
            "the chart no longer brings the CRD istiooperators.install.istio.io; the one in the cluster stays",
        ],
    ),
    release(
        22,
        "1.22.8",
        26,
        (27, 30),
        &[
            "traces no longer go to zipkin.istio-system by default: name a tracing provider",
            "v1 of the networking, security and telemetry APIs is served",
            "istiod sends only what changed (delta xDS): EnvoyFilters and tools that read xDS may notice",
        ],
    ),
    release(23, "1.23.6", 26, (27, 30), &[]),
    release(
        24,
        "1.24.6",
        28,
        (28, 31),
        &[
            "the CRDs belong to the Helm release of `base` from here on: meshrun takes over those that are there",
            "the in-cluster operator and `istioctl verify-install` are gone: remove the operator first",
        ],
    ),
    release(25, "1.25.5", 28, (29, 32), &["OpenCensus tracing is gone: move to OpenTelemetry"]),
    release(26, "1.26.8", 29, (29, 33), &[]),
    release(
        27,
        "1.27.9",
        29,
        (29, 33),
        &["the proxy is a native sidecar, an init container, by default: check webhooks that look for it"],
    ),
    release(28, "1.28.10", 29, (30, 34), &[]).supported(),
    release(
        29,
        "1.29.6",
        30,
        (31, 35),
        &["istiod's debug endpoints ask for authorization: tools outside its namespace (Kiali) see less"],
    )
    .supported(),
    release(
        30,
        "1.30.3",
        32,
        (32, 36),
        &[
            "images come from registry.istio.io instead of docker.io: let nodes reach it, or set `hub`",
            "xDS debug endpoints ask for authentication",
        ],
    )
    .supported(),
];

/// What is known of a minor of Istio 1.
pub fn release_of(minor: u32) -> Option<&'static Release> {
    RELEASES.iter().find(|release| release.minor == minor)
}

/// The oldest and the newest minor that are known.
pub fn known_minors() -> (u32, u32) {
    (RELEASES[0].minor, RELEASES[RELEASES.len() - 1].minor)
}

const fn release(
    minor: u32,
    newest: &'static str,
    kubernetes_floor: u32,
    kubernetes: (u32, u32),
    notes: &'static [&'static str],
) -> Release {
    Release { minor, newest, kubernetes_floor, kubernetes, supported: false, notes }
}

impl Release {
    /// The Kubernetes versions that it is tested on: `1.31 to 1.35`.
    pub fn kubernetes_range(&self) -> String {
        format!("1.{} to 1.{}", self.kubernetes.0, self.kubernetes.1)
    }

    const fn supported(mut self) -> Self {
        self.supported = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IstioVersion;

    #[test]
    fn table_has_no_gaps_and_no_typos() {
        for (release, minor) in RELEASES.iter().zip(19..) {
            let newest: IstioVersion = release.newest.parse().expect("a version");
            assert_eq!((release.minor, newest.minor()), (minor, (1, minor)));
            let (first, last) = release.kubernetes;
            assert!(release.kubernetes_floor <= first && first < last, "1.{minor}");
        }
        assert_eq!(known_minors(), (19, 30));
    }

    #[test]
    fn neighbours_share_a_kubernetes_version() {
        for pair in RELEASES.windows(2) {
            assert!(
                pair[1].kubernetes.0 <= pair[0].kubernetes.1,
                "1.{} to 1.{}",
                pair[0].minor,
                pair[1].minor
            );
        }
    }
}

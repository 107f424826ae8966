//! The way from one version to another: minor by minor, with what changes at each and the Kubernetes it needs.

use meshrun_plugin_common::{IstioVersion, Release, known_minors, kubernetes_minor, release_of};
use meshrun_sdk::prelude::{Diagnostic, Hop, UpgradeRequest, UpgradeResponse};

/// What to do at each hop. The proxies follow before the next one: the control plane leads them by one minor at most.
const ROUTINE: [&str; 4] = [
    "set the version of `istio-base`, `istiod` and `gateway` to {version}; shipped pipelines take `--var istio={version}`",
    "look at what changes, CRDs included: `meshrun plan PIPELINE`; then `meshrun PIPELINE`",
    "restart the workloads that have a proxy, namespace by namespace: `kubectl rollout restart deployment -n NAMESPACE`",
    "go on when no proxy of the version before is left: the step `verify` counts them",
];

pub(crate) fn path(request: &UpgradeRequest) -> meshrun_sdk::Result<UpgradeResponse> {
    Ok(plan(request)
        .unwrap_or_else(|refusals| UpgradeResponse { diagnostics: refusals, ..UpgradeResponse::default() }))
}

fn plan(request: &UpgradeRequest) -> Result<UpgradeResponse, Vec<Diagnostic>> {
    let (from, to, kubernetes) = read(request)?;
    if to.number() < from.number() {
        return Err(vec![
            Diagnostic::error("/to", format!("{to} is older than {from}: upgrades lead forward only"))
                .with_code("istio/downgrade")
                .with_hint("to take an upgrade back, set the version before and run the pipeline"),
        ]);
    }
    let mut response = UpgradeResponse { diagnostics: remarks(&to), ..UpgradeResponse::default() };
    if to == from {
        response
            .diagnostics
            .push(Diagnostic::hint("/to", format!("{to} is installed already: nothing to do")));
        return Ok(response);
    }
    let way = way(&from, &to);
    response.routine = ROUTINE.map(str::to_owned).into();
    response.hops = way
        .iter()
        .map(|(version, release)| Hop {
            version: version.clone(),
            kubernetes: Some(release.kubernetes_range()),
            notes: match release.minor == from.minor().1 {
                true => Vec::new(),
                false => release.notes.iter().map(|note| (*note).to_owned()).collect(),
            },
        })
        .collect();
    response.diagnostics.extend(on_the_way(&way));
    match kubernetes {
        Some(kubernetes) => {
            response.diagnostics.extend(upgrade_kubernetes(kubernetes, &way, &mut response.hops));
        }
        None => response.diagnostics.extend(no_common_kubernetes(&way)),
    }
    Ok(response)
}

/// Reads the request: the two versions, of known minors, and the minor of Kubernetes.
fn read(request: &UpgradeRequest) -> Result<(IstioVersion, IstioVersion, Option<u32>), Vec<Diagnostic>> {
    let mut refused = Vec::new();
    let mut version = |path: &str, text: &str| match text.parse::<IstioVersion>() {
        Ok(version) if version.release().is_some() => Some(version),
        Ok(version) => {
            let (first, last) = known_minors();
            let message = format!(
                "nothing is known here of Istio {version}: the known minors are 1.{first} to 1.{last}"
            );
            let mut refusal = Diagnostic::error(path, message).with_code("istio/unknown-version");
            if version.at_least(1, last) {
                refusal = refusal.with_hint("a newer release of this plugin may know it");
            }
            refused.push(refusal);
            None
        }
        Err(error) => {
            refused.push(Diagnostic::error(path, error.to_string()).with_code("istio/unknown-version"));
            None
        }
    };
    let (from, to) = (version("/from", &request.from), version("/to", &request.to));
    let kubernetes = request.kubernetes_version.as_deref().and_then(|text| {
        let minor = kubernetes_minor(text);
        if minor.is_none() {
            refused.push(
                Diagnostic::error(
                    "/kubernetes_version",
                    format!("`{text}` is not a Kubernetes version such as `1.34`"),
                )
                .with_code("kubernetes/version"),
            );
        }
        minor
    });
    match (from, to) {
        (Some(from), Some(to)) if refused.is_empty() => Ok((from, to, kubernetes)),
        _ => Err(refused),
    }
}

/// The hops: the newest patch of every minor between, then the version asked for.
fn way(from: &IstioVersion, to: &IstioVersion) -> Vec<(String, &'static Release)> {
    let last = to.minor().1;
    let between = (from.minor().1 + 1..last).filter_map(release_of);
    between
        .map(|release| (release.newest.to_owned(), release))
        .chain(to.release().map(|release| (to.to_string(), release)))
        .collect()
}

/// What there is to say of the version asked for.
fn remarks(to: &IstioVersion) -> Vec<Diagnostic> {
    let newest = to.release().and_then(|release| release.newest.parse::<IstioVersion>().ok());
    let newer = newest.filter(|newest| newest.number() > to.number()).map(|newest| {
        Diagnostic::hint("/to", format!("{newest} is the newest patch of its minor that is known here"))
            .with_code("istio/newer-patch")
    });
    to.support("/to").into_iter().chain(newer).collect()
}

/// What there is to say of the minors between.
fn on_the_way(way: &[(String, &'static Release)]) -> Vec<Diagnostic> {
    let between = &way[..way.len().saturating_sub(1)];
    let old: Vec<&str> = between
        .iter()
        .filter(|(_, release)| !release.supported)
        .map(|(version, _)| version.as_str())
        .collect();
    let unsupported = span(&old).map(|versions| {
        Diagnostic::hint("", format!("on the way, without security fixes: {versions}"))
            .with_code("istio/end-of-life")
            .with_hint("pass through them, do not stay")
    });
    let beside = (way.len() > 1).then(|| {
        Diagnostic::hint(
            "",
            "a control plane installed beside the other (`revision`) may be two minors ahead of it",
        )
        .with_code("istio/canary")
    });
    unsupported.into_iter().chain(beside).collect()
}

/// Tells at which hops the cluster must be upgraded first, and which ones were not tested on it.
fn upgrade_kubernetes(
    mut cluster: u32,
    way: &[(String, &'static Release)],
    hops: &mut [Hop],
) -> Option<Diagnostic> {
    let given = cluster;
    let mut untested = Vec::new();
    for ((version, release), hop) in way.iter().zip(hops) {
        let (first, last) = release.kubernetes;
        if cluster < first {
            hop.notes.insert(0, format!("before it, upgrade Kubernetes from 1.{cluster} to 1.{first}"));
            cluster = first;
        }
        if cluster > last {
            untested.push(version.as_str());
        }
    }
    span(&untested).map(|versions| {
        Diagnostic::warning("/kubernetes_version", format!("not tested on Kubernetes 1.{given}: {versions}"))
            .with_code("istio/kubernetes-untested")
            .with_hint("try the way on another cluster of that version first, or install a new mesh on a new cluster")
    })
}

fn no_common_kubernetes(way: &[(String, &'static Release)]) -> Option<Diagnostic> {
    let first = way.iter().map(|(_, release)| release.kubernetes.0).max()?;
    let last = way.iter().map(|(_, release)| release.kubernetes.1).min()?;
    (first > last).then(|| {
        Diagnostic::hint(
            "/kubernetes_version",
            "no Kubernetes version fits every hop: it is upgraded on the way as well",
        )
        .with_code("istio/kubernetes-version")
        .with_hint("give the cluster's version to see at which hops")
    })
}

/// The first and the last of neighbouring versions: `1.20.8 to 1.27.9`.
fn span(versions: &[&str]) -> Option<String> {
    match versions {
        [] => None,
        [one] => Some((*one).to_owned()),
        [first, .., last] => Some(format!("{first} to {last}")),
    }
}

#[cfg(test)]
mod tests {
    use meshrun_sdk::{Step, prelude::Severity};

    use super::*;
    use crate::Istiod;

    fn ask(from: &str, to: &str, kubernetes: Option<&str>) -> UpgradeResponse {
        let request = UpgradeRequest {
            from: from.into(),
            to: to.into(),
            kubernetes_version: kubernetes.map(str::to_owned),
        };
        let path = Istiod::UPGRADE_PATH.expect("istiod knows the way");
        path(&request).expect("an answer")
    }

    fn hops(from: &str, to: &str) -> Vec<String> {
        ask(from, to, None).hops.into_iter().map(|hop| hop.version).collect()
    }

    fn findings(response: &UpgradeResponse) -> Vec<String> {
        let line = |found: &Diagnostic| format!("{:?} {}: {}", found.severity, found.path, found.message);
        response.diagnostics.iter().map(line).collect()
    }

    #[test]
    fn hops_go_minor_by_minor_and_end_at_the_version_asked_for() {
        assert_eq!(
            hops("1.19.3", "1.30.3"),
            [
                "1.20.8", "1.21.6", "1.22.8", "1.23.6", "1.24.6", "1.25.5", "1.26.8", "1.27.9", "1.28.10",
                "1.29.6", "1.30.3",
            ]
        );
        assert_eq!(hops("1.28.2", "1.30.1"), ["1.29.6", "1.30.1"]);
        assert_eq!(hops("1.29.6", "1.30.0"), ["1.30.0"]);
        assert_eq!(hops("1.30.0", "1.30.3"), ["1.30.3"]);
        assert_eq!(hops("1.30.3", "1.30.3"), Vec::<String>::new());
    }

    #[test]
    fn patch_changes_no_behaviour() {
        assert_eq!(ask("1.30.0", "1.30.3", None).hops[0].notes, Vec::<String>::new());
        assert_eq!(ask("1.29.6", "1.30.3", None).hops[0].notes.len(), 2);
    }

    #[test]
    fn refuses_what_is_no_way() {
        let refused = |from: &str, to: &str, kubernetes: Option<&str>| {
            let response = ask(from, to, kubernetes);
            assert!(response.hops.is_empty());
            assert!(response.diagnostics.iter().all(|found| found.severity == Severity::Error));
            findings(&response)
        };
        assert_eq!(
            refused("1.30.3", "1.29.6", None),
            ["Error /to: 1.29.6 is older than 1.30.3: upgrades lead forward only"]
        );
        assert_eq!(
            refused("1.18.7", "1.31.0", None),
            [
                "Error /from: nothing is known here of Istio 1.18.7: the known minors are 1.19 to 1.30",
                "Error /to: nothing is known here of Istio 1.31.0: the known minors are 1.19 to 1.30",
            ]
        );
        assert_eq!(
            refused("1.29", "1.30.3", Some("new")),
            [
                "Error /from: `1.29` is not an exact Istio version such as `1.30.3`",
                "Error /kubernetes_version: `new` is not a Kubernetes version such as `1.34`",
            ]
        );
    }

    #[test]
    fn kubernetes_is_upgraded_where_a_hop_needs_it() {
        let response = ask("1.23.6", "1.30.3", Some("v1.28.9-eks-1"));
        let first: Vec<String> = response
            .hops
            .iter()
            .filter_map(|hop| Some((hop, hop.notes.first()?)))
            .filter(|(_, note)| note.starts_with("before it"))
            .map(|(hop, note)| format!("{}: {note}", hop.version))
            .collect();
        assert_eq!(
            first,
            [
                "1.25.5: before it, upgrade Kubernetes from 1.28 to 1.29",
                "1.28.10: before it, upgrade Kubernetes from 1.29 to 1.30",
                "1.29.6: before it, upgrade Kubernetes from 1.30 to 1.31",
                "1.30.3: before it, upgrade Kubernetes from 1.31 to 1.32",
            ]
        );
    }

    #[test]
    fn says_what_is_doubtful_about_the_way() {
        assert_eq!(
            findings(&ask("1.24.0", "1.27.2", None)),
            [
                "Warning /to: Istio 1.27 gets no security fixes any more",
                "Hint /to: 1.27.9 is the newest patch of its minor that is known here",
                "Hint : on the way, without security fixes: 1.25.5 to 1.26.8",
                "Hint : a control plane installed beside the other (`revision`) may be two minors ahead of it",
            ]
        );
        assert_eq!(
            findings(&ask("1.26.8", "1.28.10", Some("1.34"))),
            [
                "Hint : on the way, without security fixes: 1.27.9",
                "Hint : a control plane installed beside the other (`revision`) may be two minors ahead of it",
                "Warning /kubernetes_version: not tested on Kubernetes 1.34: 1.27.9",
            ]
        );
        assert_eq!(
            findings(&ask("1.22.8", "1.30.3", None)).last().map(String::as_str),
            Some(
                "Hint /kubernetes_version: no Kubernetes version fits every hop: it is upgraded on the way as well"
            )
        );
    }
}

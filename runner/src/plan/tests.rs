//! Releases planned on a cluster in memory, from the stand-in charts as helm renders them.

use std::{path::Path, sync::Arc};

use meshrun_protocol::{Chart, Helm as Action};
use serde_json::json;
use tempfile::TempDir;

use super::{
    HELM_MANAGER, Planner,
    model::{Change, Verb},
    work::ReleaseWork,
};
use crate::{
    cluster::{ApplyOptions, Cluster, Object, rehearsal::Rehearsal},
    helm::{Helm, HelmOptions, release},
    spec,
};

const CRD: &str = "CustomResourceDefinition";

/// A planner for releases: no step, the stand-in charts, a cluster in memory; its cache goes with the directory.
fn planner() -> (Planner, TempDir) {
    let repository =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the runner lies in the repository");
    let cached = repository.join(".cache/bin/helm");
    let helm =
        std::env::var_os("MESHRUN_HELM").map(Into::into).or_else(|| cached.is_file().then_some(cached));
    let cache = tempfile::tempdir().expect("a temporary directory");
    let mirrors = vec![repository.join("tests/fixtures/charts")];
    let helm = Helm::new(HelmOptions { helm, mirrors, cache: cache.path().into(), lock: None });
    let text = "name: test\nsteps:\n  - { id: base, uses: istio-base }\n";
    let pipeline = spec::load_str("test.yaml", text, &spec::Overrides::default()).expect("a pipeline");
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "istio-system" } });
    let namespace = Object::new(namespace).expect("an object");
    let cluster: Arc<dyn Cluster> = Arc::new(Rehearsal::builder().with([namespace]).build());
    (Planner::new(Arc::new(pipeline), Default::default(), cluster, Arc::new(helm)), cache)
}

async fn base(planner: &Planner, version: &str) -> ReleaseWork {
    let chart = Chart { name: "base".into(), version: version.into(), repository: None, path: None };
    let (release, namespace) = ("istio-base".into(), "istio-system".into());
    planner.release(&Action { release, namespace, chart, values: json!({}) }).await.expect("a release")
}

async fn apply(planner: &Planner, release: &ReleaseWork) {
    let options = ApplyOptions { manager: HELM_MANAGER.into(), force: true, dry_run: false };
    for object in &release.objects {
        planner.cluster().apply(object, &options).await.expect("applied");
    }
}

#[tokio::test]
async fn crds_of_an_old_chart_become_part_of_the_release_of_a_new_one() {
    let (planner, _cache) = planner();
    let old = base(&planner, "1.19.3").await;
    apply(&planner, &old).await;
    let crds = |release: &ReleaseWork| -> Vec<_> {
        release.objects.iter().filter(|object| object.kind() == CRD).cloned().collect()
    };
    // From `crds/`: helm installs them once and never looks at them again, so they bear no owner.
    assert_eq!(crds(&old).len(), 15);
    assert!(crds(&old).iter().all(|crd| release::owner(crd).is_none()));

    let new = base(&planner, "1.30.3").await;
    assert_eq!(crds(&new).len(), 15);
    for crd in crds(&new) {
        assert_eq!(release::owner(&crd), Some(("istio-base", "istio-system")), "{crd}");
    }
    let (changes, _) = planner.release_changes(&new).await.expect("changes");
    let crds: Vec<&Change> = changes.iter().filter(|change| change.object.kind == CRD).collect();
    let of = |verb: Verb| crds.iter().filter(|change| change.verb == verb).count();
    assert_eq!((of(Verb::Create), of(Verb::Update)), (1, 14), "trafficextensions is new");
    let gateways =
        crds.iter().find(|crd| crd.object.name == "gateways.networking.istio.io").expect("a change");
    let owner = gateways.fields.iter().find(|field| field.path.contains("meta.helm.sh/release-name"));
    assert_eq!(owner.and_then(|field| field.after.clone()), Some(json!("istio-base")));
    // The chart no longer has this one, and nothing takes it away: its objects would go with it.
    assert!(changes.iter().all(|change| change.verb != Verb::Delete));

    apply(&planner, &new).await;
    let again = base(&planner, "1.30.3").await;
    let (changes, _) = planner.release_changes(&again).await.expect("changes");
    assert!(changes.iter().all(|change| change.verb == Verb::Unchanged), "{changes:?}");
}

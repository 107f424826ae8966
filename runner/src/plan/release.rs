//! A Helm action made ready: chart rendered, objects whole and marked as helm marks them, the last revision read.

use std::time::Duration;

use jiff::Timestamp;
use meshrun_protocol::{Helm as HelmAction, ListQuery, ObjectRef};

use super::{
    PlanError, Planner,
    work::{Pending, ReleaseWork},
};
use crate::{
    cluster::{Object, Scope},
    helm::{
        Capabilities,
        release::{self, Status, Stored},
    },
};

/// How long helm works on a release at most, by its own default: what is pending for longer was left behind.
pub(super) const HELM_TAKES: Duration = Duration::from_secs(300);

/// For how long a revision has been pending; `None` where it is not.
fn pending_for(stored: &Stored) -> Result<Option<Pending>, PlanError> {
    let info = &stored.release.info;
    if !info.status.is_pending() {
        return Ok(None);
    }
    // An uninstall leaves the time of the last deployment as it was.
    let since = if info.status == Status::Uninstalling { &info.deleted } else { &info.last_deployed };
    let since: Timestamp = since.parse().unwrap_or_default();
    // A clock that is behind helm's sees a beginning in the future.
    let age = Duration::try_from(Timestamp::now().duration_since(since)).unwrap_or_default();
    let age_text = humantime::format_duration(Duration::from_secs(age.as_secs())).to_string();
    if age < HELM_TAKES {
        return Err(PlanError::HelmAtWork {
            release: format!("{}/{}", stored.release.namespace, stored.release.name),
            status: info.status.as_str().into(),
            age: age_text,
        });
    }
    Ok(Some(Pending { status: info.status.as_str().into(), age: age_text }))
}

impl Planner {
    pub(super) async fn release(&self, action: &HelmAction) -> Result<ReleaseWork, PlanError> {
        let query = ListQuery {
            api_version: "v1".into(),
            kind: "Secret".into(),
            namespace: Some(action.namespace.clone()),
            labels: Some(release::selector(&action.release)),
        };
        let recorded = Stored::current(self.cluster.list(&query).await?)?;
        let previous = recorded.first();
        let pending = previous.map(pending_for).transpose()?.flatten();
        let capabilities = self.capabilities().await?;
        let rendered = self.helm.render(action, &capabilities, previous.is_some()).await?;

        let mut objects = rendered.crds.clone();
        self.apis.learn(rendered.crds.iter().chain(rendered.objects.iter()));
        for object in &rendered.objects {
            let mut object = object.clone();
            self.place(&mut object, &action.namespace).await?;
            release::adopt(&mut object, &action.release, &action.namespace);
            objects.push(object);
        }
        let record = match previous {
            Some(previous) if previous.release.is_same(&rendered) => false,
            // Some charts render an install otherwise than an upgrade (istiod 1.30: `failurePolicy`). What was installed
            // as it would be today needs no second revision.
            Some(previous) if previous.release.version == 1 => {
                let installed = self.helm.render(action, &capabilities, false).await?;
                !previous.release.is_same(&installed)
            }
            _ => true,
        };
        // A revision that failed or was never finished does not have all that the one before it left.
        let mut obsolete = Vec::new();
        if record {
            for revision in &recorded {
                for object in self.obsolete(revision, &objects, &action.namespace).await? {
                    if !obsolete.contains(&object) {
                        obsolete.push(object);
                    }
                }
            }
        }
        Ok(ReleaseWork {
            recorded,
            pending,
            chart: action.chart.clone(),
            rendered,
            objects,
            obsolete,
            record,
        })
    }

    /// What the server is, for the chart; its list of APIs is asked for only once per plan.
    async fn capabilities(&self) -> Result<Capabilities, PlanError> {
        let api_versions = self.apis.versions().await?;
        Ok(Capabilities { kube_version: self.cluster.info().kubernetes_version, api_versions })
    }

    /// Puts an object into a namespace if its kind lives in one and it names none, and out of one if it does not.
    pub(super) async fn place(&self, object: &mut Object, namespace: &str) -> Result<(), PlanError> {
        match self.apis.find(object.api_version(), object.kind()).await? {
            Some((Scope::Namespaced, _)) if object.namespace().is_none() => {
                object.set_namespace(Some(namespace))
            }
            Some((Scope::Cluster, _)) => object.set_namespace(None),
            _ => {}
        }
        Ok(())
    }

    /// Objects of the previous revision that the chart no longer has and that it does not ask to keep.
    async fn obsolete(
        &self,
        previous: &Stored,
        objects: &[Object],
        namespace: &str,
    ) -> Result<Vec<ObjectRef>, PlanError> {
        let mut obsolete = Vec::new();
        for mut object in previous.release.objects()? {
            if release::is_kept(&object) {
                continue;
            }
            self.place(&mut object, namespace).await?;
            let reference = object.reference();
            let still_there = objects.iter().any(|other| {
                let other = other.reference();
                (other.group(), &other.kind, &other.namespace, &other.name)
                    == (reference.group(), &reference.kind, &reference.namespace, &reference.name)
            });
            if !still_there {
                obsolete.push(reference);
            }
        }
        Ok(obsolete)
    }
}

//! What is left after a destroy: every listable API is read once, and what bears a mark of the pipeline is named.

use std::collections::{BTreeMap, BTreeSet};

use meshrun_protocol::{Check, Leftover, ListQuery, ObjectRef};

use super::{MANAGER, PlanError, Planner};
use crate::{
    cluster::{ErrorKind, Kind, Object},
    helm::release::{self, is_kept},
    state::inventory::{Inventory, InventoryStore},
};

/// The field manager of what istiod makes by itself.
const ISTIOD: &str = "pilot-discovery";

/// Something that is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residue {
    /// The object.
    pub object: ObjectRef,
    /// Who made it, or why it is still there.
    pub owner: String,
    /// The command that removes it, or what else to do about it.
    pub command: String,
}

/// What a look through the cluster found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResidueReport {
    /// What is left, sorted by object.
    pub found: Vec<Residue>,
    /// Kinds that were read.
    pub kinds: usize,
    /// Kinds that may not be read, with the reason.
    pub unread: Vec<(String, String)>,
}

impl Residue {
    /// The inventory that is kept, because it names what else is left.
    pub fn record(secret: &ObjectRef) -> Self {
        let namespace = secret.namespace.as_deref().unwrap_or_default();
        Self {
            object: secret.clone(),
            owner: "meshrun, which has to know what else is left".into(),
            command: format!("kubectl delete secret {} -n {namespace}, once nothing else is", secret.name),
        }
    }
}

impl Planner {
    /// Looks for what is left of a pipeline; `inventory` is what it held before the destroy, `staying` what plugins know
    /// of.
    ///
    /// # Errors
    /// When the cluster does not say which APIs it has.
    pub async fn residue(
        &self,
        inventory: &Inventory,
        staying: &[Leftover],
    ) -> Result<ResidueReport, PlanError> {
        let mut report = ResidueReport::default();
        let mut found = BTreeMap::new();
        let marks = self.marks(inventory).await?;
        for kind in self.cluster.kinds().await? {
            if matches!(kind.kind.as_str(), "Event" | "EndpointSlice" | "Endpoints") {
                continue;
            }
            let query = ListQuery {
                api_version: kind.api_version.clone(),
                kind: kind.kind.clone(),
                namespace: None,
                labels: None,
            };
            let objects = match self.cluster.list(&query).await {
                Ok(objects) => objects,
                Err(error) if matches!(error.kind, ErrorKind::Forbidden | ErrorKind::NotFound) => {
                    report.unread.push((kind.kind, error.message));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            report.kinds += 1;
            for object in objects {
                if let Some(leftover) = said_to_stay(&object, staying) {
                    let command = leftover.hint.clone().unwrap_or_else(|| command(&kind, &object));
                    let owner = leftover.owner.clone();
                    found.insert(object.reference(), Residue { object: object.reference(), owner, command });
                    continue;
                }
                // What is going already, or goes with its owner, is not left.
                let going = object.at("/metadata/deletionTimestamp").is_some()
                    || !object.items("/metadata/ownerReferences").is_empty();
                if going {
                    continue;
                }
                if let Some(owner) = marks.owner(&object) {
                    let command = command(&kind, &object);
                    found.insert(object.reference(), Residue { object: object.reference(), owner, command });
                }
            }
        }
        report.found = found.into_values().collect();
        Ok(report)
    }
}

/// What a plugin said of an object that stays.
fn said_to_stay<'a>(object: &Object, staying: &'a [Leftover]) -> Option<&'a Leftover> {
    let reference = object.reference();
    staying.iter().find(|leftover| leftover.objects.iter().any(|other| other.is_same(&reference)))
}

/// By what the objects of a pipeline are known.
struct Marks<'a> {
    inventory: &'a Inventory,
    /// What other pipelines made.
    others: Vec<Inventory>,
    /// Field managers whose objects are the mesh's own.
    managers: &'static [&'static str],
}

impl Planner {
    async fn marks<'a>(&self, inventory: &'a Inventory) -> Result<Marks<'a>, PlanError> {
        let others = match InventoryStore::others(self.cluster.as_ref(), &inventory.pipeline).await {
            Err(error) if error.kind == ErrorKind::Forbidden => Vec::new(),
            others => others?,
        };
        // What an istiod made is still in use where another one is left.
        let query = ListQuery {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: None,
            labels: Some("app=istiod".into()),
        };
        let managers: &[&str] = match self.cluster.list(&query).await {
            Ok(istiods) if istiods.is_empty() => &[MANAGER, ISTIOD],
            _ => &[MANAGER],
        };
        Ok(Marks { inventory, others, managers })
    }
}

impl Marks<'_> {
    /// Who made an object, if it bears a mark of the pipeline.
    fn owner(&self, object: &Object) -> Option<String> {
        let reference = object.reference();
        for (step, entry) in &self.inventory.steps {
            let lent =
                object.kind() == "Namespace" && !entry.created.iter().any(|made| made.is_same(&reference));
            if lent && !is_written_by(object, MANAGER) {
                continue;
            }
            if entry.objects.iter().any(|made| made.is_same(&reference)) {
                let why = match object.kind() {
                    "CustomResourceDefinition" => "; CRDs stay unless --crds is given",
                    "Namespace" if lent => "; it was there before, and keeps fields that meshrun wrote",
                    "Namespace" => "; objects of others are in it",
                    _ if is_kept(object) => "; its annotation helm.sh/resource-policy keeps it",
                    _ => "",
                };
                return Some(format!("step {step} of this pipeline{why}"));
            }
        }
        let releases: BTreeSet<&str> =
            self.inventory.steps.values().flat_map(|entry| &entry.releases).map(String::as_str).collect();
        if let Some((name, namespace)) = release::owner(object)
            && releases.contains(format!("{namespace}/{name}").as_str())
        {
            return Some(format!("helm release {namespace}/{name}"));
        }
        // Lock and inventory of this and other pipelines are meshrun's own business.
        let own_business = object.label("app.kubernetes.io/managed-by") == Some("meshrun");
        if own_business || self.others.iter().any(|other| other.names(&reference)) {
            return None;
        }
        // A stranger's object of which the mesh only wrote a status or a field is the stranger's.
        let entries = object.items("/metadata/managedFields").iter();
        let writers: BTreeSet<&str> = entries
            .filter(|entry| entry.get("subresource").is_none())
            .filter_map(|entry| entry["manager"].as_str())
            .collect();
        let all_known = writers.iter().all(|writer| self.managers.contains(writer));
        writers.into_iter().next().filter(|_| all_known).map(str::to_owned)
    }
}

fn is_written_by(object: &Object, manager: &str) -> bool {
    object.items("/metadata/managedFields").iter().any(|entry| entry["manager"] == manager)
}

fn command(kind: &Kind, object: &Object) -> String {
    let group = kind.api_version.split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
    let namespace = object.namespace().map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
    if kind.kind == "Namespace" {
        // Everything of others in it would go with it.
        return format!(
            "look what is in it: kubectl api-resources --namespaced --verbs=list -o name | xargs -n1 kubectl get -n {}",
            object.name()
        );
    }
    format!("kubectl delete {}{group} {}{namespace}", kind.kind.to_lowercase(), object.name())
}

impl ResidueReport {
    /// The report as checks: one warning for each thing that is left, or one check that passed.
    pub fn checks(&self) -> Vec<Check> {
        let mut checks: Vec<Check> = self
            .found
            .iter()
            .map(|residue| {
                Check::warning(
                    format!("residue-{}", residue.object.to_string().replace([' ', '/'], "-").to_lowercase()),
                    format!("{} is left", residue.object),
                    format!("made by {}", residue.owner),
                )
                .with_hint(residue.command.clone())
            })
            .collect();
        for (kind, why) in &self.unread {
            checks.push(Check::skipped(
                format!("residue-of-{}", kind.to_lowercase()),
                format!("nothing is left among the objects of kind {kind}"),
                why.clone(),
            ));
        }
        if self.found.is_empty() && self.unread.is_empty() {
            let evidence = format!("objects of {} kinds were looked through", self.kinds);
            checks.push(Check::passed("residue", "nothing of the pipeline is left", evidence));
        }
        checks
    }
}

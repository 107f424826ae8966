//! What would happen to one object: asked of the server by a dry run, or of the schemas where it does not exist yet.

use std::sync::Arc;

use meshrun_protocol::Diagnostic;
use serde_json::Value;

use super::{
    PlanError, diff,
    known::{KnownApis, Origin},
    model::{Change, Verb},
    owned::leave_to_others,
    ownership,
};
use crate::{
    cluster::{ApplyOptions, Cluster, ErrorKind, Object, schema::SchemaError},
    helm::release,
};

/// Compares an object with the cluster. A finding says where the comparison could not be made.
///
/// # Errors
/// When the object is invalid, its API is unknown, or the cluster cannot be read.
pub(super) async fn compare(
    cluster: &Arc<dyn Cluster>,
    apis: &KnownApis,
    object: &Object,
    manager: &str,
) -> Result<(Change, Option<Diagnostic>), PlanError> {
    let change = |verb, fields| Change { object: object.reference(), verb, adopted_from: None, fields };
    let Some((_, origin)) = apis.find(object.api_version(), object.kind()).await? else {
        return Err(PlanError::UnknownApi {
            object: object.reference().to_string(),
            api_version: object.api_version().into(),
            kind: object.kind().into(),
        });
    };
    let live = match origin {
        Origin::Served => cluster.get(&object.reference()).await?,
        Origin::Planned => None,
    };
    let Some(live) = live else {
        match apis.validate(object) {
            Some(problems) => settle(object, &problems)?,
            None => ask_server(cluster, object, manager).await?,
        }
        let verb = if origin == Origin::Planned { Verb::CreateLater } else { Verb::Create };
        return Ok((change(verb, Vec::new()), None));
    };
    let mut desired = object.clone();
    leave_to_others(&mut desired, &live);
    let mut takeover = ownership::takeover(&live, &desired, manager, None);
    if takeover.is_none() && is_applied_by(&live, manager) && diff::is_as_asked(&live, &desired) {
        return Ok((change(Verb::Unchanged, Vec::new()), None));
    }
    let options = ApplyOptions { manager: manager.into(), force: true, dry_run: true };
    match cluster.apply(&desired, &options).await {
        Ok(result) => {
            let mut fields = diff::fields(&live, &result);
            if takeover.as_ref().is_some_and(|takeover| !takeover.dropped.is_empty()) {
                let defaults = completed(cluster, &desired, manager).await;
                takeover = ownership::takeover(&live, &desired, manager, defaults.as_ref());
            }
            if let Some(takeover) = &takeover {
                fields.extend(diff::shown(object, takeover.dropped.clone()));
                fields.sort_by(|one, other| one.path.cmp(&other.path));
            }
            let same = fields.is_empty() && takeover.is_none();
            let verb = if same { Verb::Unchanged } else { Verb::Update };
            let adopted_from = takeover.map(|takeover| takeover.from);
            Ok((Change { adopted_from, ..change(verb, fields) }, other_release(&live, &desired)))
        }
        Err(error) if error.needs_replacement() => {
            Ok((change(Verb::Replace, diff::asked(&live, &desired)), None))
        }
        Err(error) if error.kind == ErrorKind::WebhookUnavailable => {
            let finding = Diagnostic::warning("", format!("{object} cannot be compared: {}", error.message))
                .with_hint("the run waits until the webhook answers again");
            Ok((change(Verb::Update, diff::asked(&live, &desired)), Some(finding)))
        }
        Err(error) => Err(error.into()),
    }
}

/// An object as the server completes it where nothing of it is there yet: asked for under a name that is free. `None`
/// where the server does not say.
async fn completed(cluster: &Arc<dyn Cluster>, desired: &Object, manager: &str) -> Option<Object> {
    let mut new = desired.clone();
    if let Some(defaults) = diff::crd_defaults(desired) {
        // Its name is bound to its group and plural, so it cannot be asked for under another.
        for (path, value) in defaults {
            let (parent, key) = path.rsplit_once('.').expect("a path of two names or more");
            let parent = new.json_mut().pointer_mut(&format!("/{}", parent.replace('.', "/")));
            if let Some(parent) = parent.and_then(Value::as_object_mut) {
                parent.entry(key).or_insert(value);
            }
        }
        return Some(new);
    }
    let name: String = desired.name().chars().take(40).collect();
    new.json_mut()["metadata"]["name"] = format!("{name}-meshrun-plan").into();
    let options = ApplyOptions { manager: manager.into(), force: true, dry_run: true };
    match cluster.apply(&new, &options).await {
        Ok(object) => Some(object),
        Err(error) => {
            tracing::debug!(%error, %desired, "what the server fills in is not known");
            None
        }
    }
}

/// Says that an object leaves the Helm release of somebody else: helm itself refuses that.
fn other_release(live: &Object, desired: &Object) -> Option<Diagnostic> {
    let (theirs, ours) = (release::owner(live)?, release::owner(desired)?);
    (theirs != ours).then(|| {
        let name = |(name, namespace): (&str, &str)| format!("{namespace}/{name}");
        let message =
            format!("{live} belongs to helm release {} and would move to {}", name(theirs), name(ours));
        Diagnostic::warning("", message).with_hint(
            "if the other release is still wanted, give one of them other names: both would write the object",
        )
    })
}

/// Whether an object's fields were applied by a manager: equal words of somebody else's are still theirs.
fn is_applied_by(live: &Object, manager: &str) -> bool {
    live.items("/metadata/managedFields")
        .iter()
        .any(|entry| entry["manager"] == manager && entry["operation"] == "Apply")
}

/// Has the server check a new object of a kind that only its own CRDs define.
async fn ask_server(cluster: &Arc<dyn Cluster>, object: &Object, manager: &str) -> Result<(), PlanError> {
    let options = ApplyOptions { manager: manager.into(), force: true, dry_run: true };
    match cluster.apply(object, &options).await {
        // Its namespace comes with an earlier step, or a webhook is down: the step finds out when it runs.
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::WebhookUnavailable) => Ok(()),
        answer => answer.map(drop).map_err(Into::into),
    }
}

fn settle(object: &Object, problems: &[SchemaError]) -> Result<(), PlanError> {
    if problems.is_empty() {
        return Ok(());
    }
    let problems: Vec<String> = problems
        .iter()
        .map(|problem| {
            if problem.path.is_empty() {
                problem.message.clone()
            } else {
                format!("{}: {}", problem.path, problem.message)
            }
        })
        .collect();
    Err(PlanError::InvalidObject { object: object.reference().to_string(), problems: problems.join("; ") })
}

//! What would happen to one object: asked of the server by a dry run, or of the schemas where it does not exist yet.

use std::sync::Arc;

use meshrun_protocol::Diagnostic;

use super::{
    PlanError, diff,
    known::{KnownApis, Origin},
    model::{Change, Verb},
    owned::leave_to_others,
    ownership::takeover,
};
use crate::cluster::{ApplyOptions, Cluster, ErrorKind, Object};

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
        if apis.has_schema(object.api_version(), object.kind()) {
            validate(apis, object)?;
        } else {
            ask_server(cluster, object, manager).await?;
        }
        let verb = if origin == Origin::Planned { Verb::CreateLater } else { Verb::Create };
        return Ok((change(verb, Vec::new()), None));
    };
    let mut desired = object.clone();
    leave_to_others(&mut desired, &live);
    let options = ApplyOptions { manager: manager.into(), force: true, dry_run: true };
    match cluster.apply(&desired, &options).await {
        Ok(result) => {
            let mut fields = diff::fields(&live, &result);
            let takeover = takeover(&live, &desired, manager);
            if let Some(takeover) = &takeover {
                fields.extend(diff::shown(object, takeover.dropped.clone()));
                fields.sort_by(|one, other| one.path.cmp(&other.path));
            }
            let same = fields.is_empty() && takeover.is_none();
            let verb = if same { Verb::Unchanged } else { Verb::Update };
            let adopted_from = takeover.map(|takeover| takeover.from);
            Ok((Change { adopted_from, ..change(verb, fields) }, None))
        }
        Err(error) if error.kind == ErrorKind::Invalid && error.message.contains("field is immutable") => {
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

/// Has the server check a new object of a kind that only its own CRDs define.
async fn ask_server(cluster: &Arc<dyn Cluster>, object: &Object, manager: &str) -> Result<(), PlanError> {
    let options = ApplyOptions { manager: manager.into(), force: true, dry_run: true };
    match cluster.apply(object, &options).await {
        // Its namespace comes with an earlier step, or a webhook is down: the step finds out when it runs.
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::WebhookUnavailable) => Ok(()),
        answer => answer.map(drop).map_err(Into::into),
    }
}

fn validate(apis: &KnownApis, object: &Object) -> Result<(), PlanError> {
    let problems = apis.validate(object);
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

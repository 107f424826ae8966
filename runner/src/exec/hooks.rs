//! Hooks of a chart: objects that run before or after the others and must succeed.

use meshrun_protocol::{ObjectRef, WaitCondition, WaitFor};

use super::{apply::apply_objects, context::ActionContext, error::StepError, wait::wait_for};
use crate::{
    cluster::Object,
    helm::{DeletePolicy, Hook, HookEvent, Rendered},
    plan::HELM_MANAGER,
};

/// When hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(HookEvent);

impl Moment {
    /// Before the objects of a release.
    pub(super) fn before(upgrade: bool) -> Self {
        Self(if upgrade { HookEvent::PreUpgrade } else { HookEvent::PreInstall })
    }

    /// After the objects of a release.
    pub(super) fn after(upgrade: bool) -> Self {
        Self(if upgrade { HookEvent::PostUpgrade } else { HookEvent::PostInstall })
    }
}

/// Runs the hooks of a moment one after another, by weight and name as helm does.
pub(super) async fn run_hooks(
    context: &ActionContext,
    rendered: &Rendered,
    moment: Moment,
) -> Result<(), StepError> {
    let mut hooks: Vec<&Hook> =
        rendered.hooks.iter().filter(|hook| hook.events.contains(&moment.0)).collect();
    hooks.sort_by(|one, other| (one.weight, one.object.name()).cmp(&(other.weight, other.object.name())));
    for hook in hooks {
        run_hook(context, rendered, hook).await?;
    }
    Ok(())
}

async fn run_hook(context: &ActionContext, rendered: &Rendered, hook: &Hook) -> Result<(), StepError> {
    let mut object = hook.object.clone();
    let scope = context.cluster.scope(object.api_version(), object.kind()).await?;
    if object.namespace().is_none() && scope == Some(crate::cluster::Scope::Namespaced) {
        object.set_namespace(Some(&rendered.namespace));
    }
    let reference = object.reference();
    if hook.delete_policies.contains(&DeletePolicy::BeforeHookCreation) {
        remove(context, &reference).await?;
    }
    apply_objects(context, std::slice::from_ref(&object), HELM_MANAGER, &[]).await?;
    let result = match finished(&object) {
        Some(until) => {
            let wait = [WaitFor { object: reference.clone(), until }];
            wait_for(&context.cluster, &wait, context, context.deadline, &context.cancel).await
        }
        None => Ok(()),
    };
    let policy = if result.is_ok() { DeletePolicy::HookSucceeded } else { DeletePolicy::HookFailed };
    if hook.delete_policies.contains(&policy) {
        remove(context, &reference).await?;
    }
    result.map_err(|error| StepError::from_wait(error, "hook not complete", context.started.elapsed()))
}

/// How one knows that a hook has run: Jobs complete, pods succeed; everything else is done once it is there.
fn finished(object: &Object) -> Option<WaitCondition> {
    match object.kind() {
        "Job" => Some(WaitCondition::Condition { condition: "Complete".into(), status: "True".into() }),
        "Pod" => Some(WaitCondition::Expression { cel: "object.status.phase == 'Succeeded'".into() }),
        _ => None,
    }
}

async fn remove(context: &ActionContext, object: &ObjectRef) -> Result<(), StepError> {
    if context.cluster.delete(object).await? {
        let gone = [WaitFor { object: object.clone(), until: WaitCondition::Deleted }];
        wait_for(&context.cluster, &gone, context, context.deadline, &context.cancel)
            .await
            .map_err(|error| StepError::from_wait(error, "not deleted", context.started.elapsed()))?;
    }
    Ok(())
}

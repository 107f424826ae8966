//! The control plane: what was ordered, what runs, CRDs and webhooks.

use meshrun_mesh_facts::some_of;
use meshrun_plugin_common::{
    CRDS, ControlPlane, IstioVersion, checks, istiod_pods, name_of, running_version,
};
use meshrun_sdk::prelude::{Check, Cx, Result, Value};

use crate::config::Config;

pub(crate) fn checks(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
    let plane = config.control_plane();
    let mut found = vec![ordered(cx, &plane, &config.version)?];
    let title = format!("istiod runs {}", config.version);
    found.push(match checks::needs_running(cx, "istiod-version", &title) {
        Some(skipped) => skipped,
        None => running(title, &config.version, &ask(cx, &plane)?),
    });
    found.push(checks::crds_established(cx, "crds", "Istio's CRDs are established", CRDS)?);
    let webhooks = [
        ("injector", Some(plane.injector())),
        ("validator", Some(ControlPlane::default_validator())),
        ("revision-validator", plane.revision_validator(&config.version)),
    ];
    for (id, webhook) in webhooks {
        let Some(webhook) = webhook else { continue };
        let title = format!("{webhook} is in force");
        found.push(match checks::needs_running(cx, id, &title) {
            Some(skipped) => skipped,
            None => checks::webhook(cx, id, &webhook, true)?,
        });
    }
    Ok(found)
}

/// The image says what was ordered; only istiod itself says what runs.
fn ordered(cx: &Cx<'_>, plane: &ControlPlane, version: &IstioVersion) -> Result<Check> {
    let (id, title) = ("istiod-image", format!("istiod was ordered as {version}"));
    let reference = plane.deployment();
    let Some(deployment) = cx.get(&reference)? else {
        return Ok(
            Check::failed(id, title, format!("{reference} does not exist")).with_hint("run the pipeline")
        );
    };
    let image = deployment.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
    Ok(judge_image(id, title, image.unwrap_or_default(), version))
}

fn judge_image(id: &str, title: String, image: &str, version: &IstioVersion) -> Check {
    // A tag may carry a variant (`1.19.3-distroless`), an image a digest behind the tag.
    let tag = image.split('@').next().and_then(|name| name.rsplit_once(':')).map_or("", |(_, tag)| tag);
    let fits = tag == version.as_str() || tag.starts_with(&format!("{version}-"));
    if fits {
        Check::passed(id, title, image)
    } else if tag.is_empty() {
        Check::skipped(id, title, format!("image {image} has no tag"))
    } else {
        Check::failed(id, title, format!("image is {image}")).with_hint("run the pipeline")
    }
}

/// What each istiod pod says it is, or why it does not.
type Answers = Vec<(String, Result<String>)>;

fn ask(cx: &Cx<'_>, plane: &ControlPlane) -> Result<Answers> {
    let pods = istiod_pods(cx, plane)?;
    Ok(pods.iter().map(|pod| (name_of(pod).to_owned(), running_version(cx, pod))).collect())
}

fn running(title: String, wanted: &IstioVersion, answers: &Answers) -> Check {
    let id = "istiod-version";
    let silent: Vec<String> = answers
        .iter()
        .filter_map(|(pod, answer)| Some(format!("{pod}: {}", answer.as_ref().err()?)))
        .collect();
    let versions = answers.iter().filter_map(|(pod, answer)| Some((pod, answer.as_ref().ok()?)));
    let (right, wrong): (Vec<_>, Vec<_>) = versions.partition(|(_, version)| *version == wanted.as_str());
    let wrong: Vec<String> = wrong.iter().map(|(pod, version)| format!("{pod} runs {version}")).collect();
    if answers.is_empty() {
        Check::failed(id, title, "there is no istiod pod").with_hint("run the pipeline")
    } else if !wrong.is_empty() {
        Check::failed(id, title, some_of(&wrong, 5))
            .with_hint("wait for the rollout, or look why it is stuck")
    } else if !silent.is_empty() {
        Check::warning(id, title, some_of(&silent, 5))
            .with_hint("asking needs the right to port-forward to pods")
    } else {
        let names: Vec<&str> = right.iter().map(|(pod, _)| pod.as_str()).collect();
        Check::passed(id, title, format!("{} say so", some_of(&names, 5)))
    }
}

//! Whether Kiali runs and answers.

use meshrun_plugin_common::{checks as common, pods, reference};
use meshrun_sdk::prelude::{Check, Cx, Endpoint, HttpResult, Result};

use crate::config::Config;

pub(crate) fn checks(config: &Config, cx: &Cx<'_>) -> Result<Vec<Check>> {
    let ready = common::deployment(cx, "ready", &config.deployment(), 1)?;
    let path = format!("{}/healthz", config.web_root());
    let title = format!("Kiali answers {path}");
    let health = match common::needs_running(cx, "health", &title) {
        Some(skipped) => skipped,
        None => health(config, cx, &path, title)?,
    };
    Ok(vec![ready, health])
}

fn health(config: &Config, cx: &Cx<'_>, path: &str, title: String) -> Result<Check> {
    let selector = format!("app.kubernetes.io/name=kiali,app.kubernetes.io/instance={}", config.instance());
    let pods = pods(cx, Some(&config.namespace), &selector)?;
    let Some(pod) = pods.first().map(reference) else {
        return Ok(Check::failed("health", title, "there is no pod to ask"));
    };
    Ok(judge(title, &pod.name, cx.http_get(Endpoint::of_pod(&pod, config.port()), path)))
}

fn judge(title: String, pod: &str, answer: Result<HttpResult>) -> Check {
    match answer {
        Ok(answer) if answer.status == 200 => Check::passed("health", title, format!("{pod} answers 200")),
        Ok(answer) => Check::failed("health", title, format!("{pod} answers {}", answer.status))
            .with_hint(format!("look at its log: kubectl logs {pod}")),
        Err(error) => Check::failed("health", title, format!("{pod} does not answer: {error}")),
    }
}

//! The whole mesh, from the real charts as helm renders them; needs `MESHRUN_CHARTS` and helm, and is empty without.

use std::{env, path::PathBuf, process::Command};

use super::*;

/// What helm renders of a chart; `None` where the charts or helm are not at hand.
fn render(release: &str, chart: &str, values: &[&str], upgrade: bool) -> Option<Vec<Object>> {
    let charts = PathBuf::from(env::var_os("MESHRUN_CHARTS")?);
    let helm = env::var_os("MESHRUN_HELM").unwrap_or_else(|| "helm".into());
    let mut command = Command::new(helm);
    command
        .args(["template", release, "--namespace", "istio-system", "--include-crds"])
        .arg(charts.join(chart));
    if upgrade {
        command.arg("--is-upgrade");
    }
    for value in values {
        command.args(["--set-string", value]);
    }
    let output = command.output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let documents = text.split("\n---\n").map(|document| document.trim_start_matches("---\n"));
    let values = documents.map(|document| serde_saphyr::from_str::<Value>(document).expect("YAML"));
    let mut objects: Vec<_> = values.filter(|value| !value.is_null()).map(object).collect();
    objects.sort_by_key(|object| object.kind() != "CustomResourceDefinition");
    Some(objects)
}

async fn apply_all(cluster: &Rehearsal, objects: &[Object]) {
    for object in objects {
        let mut object = object.clone();
        let scope = cluster.scope(object.api_version(), object.kind()).await.expect("an answer");
        if object.namespace().is_none() && scope == Some(crate::cluster::Scope::Namespaced) {
            object.set_namespace(Some("istio-system"));
        }
        cluster.apply(&object, &by("helm")).await.expect("applied");
    }
}

async fn rolls_out(version: &str, kiali: &str) {
    let releases = |upgrade| {
        let render = |release, chart: &str, version, values: &[&str]| {
            render(release, &format!("{chart}-{version}.tgz"), values, upgrade)
        };
        let releases = [
            render("istio-base", "base", version, &[]),
            render("istiod", "istiod", version, &["global.meshID=eks-cluster"]),
            render("istio-gateway", "gateway", version, &["service.annotations.a=true"]),
            render("kiali-server", "kiali-server", kiali, &["login_token.signing_key=0123456789abcdef"]),
        ];
        releases.into_iter().collect::<Option<Vec<_>>>()
    };
    let Some(installation) = releases(false) else { return };
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "istio-system" } });
    let cluster = Rehearsal::builder().with([object(namespace)]).build();
    for release in &installation {
        apply_all(&cluster, release).await;
    }
    for name in ["istiod", "istio-gateway", "kiali"] {
        let deployment = ObjectRef::namespaced("apps/v1", "Deployment", "istio-system", name);
        let deployment = get(&cluster, &deployment).await;
        assert_eq!(deployment.condition("Available").expect("a condition")["status"], "True", "{name}");
    }
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        for configuration in list(&cluster, "admissionregistration.k8s.io/v1", kind, None).await {
            for webhook in configuration.items("/webhooks") {
                assert!(webhook["clientConfig"]["caBundle"].is_string(), "{configuration}");
                assert_eq!(webhook["failurePolicy"], "Fail", "{configuration}");
            }
        }
    }
    let applied = cluster.writes().len();
    for release in &releases(true).expect("the same again") {
        apply_all(&cluster, release).await;
    }
    let moved: Vec<String> = cluster.writes()[applied..]
        .iter()
        .filter(|write| write.changed)
        .map(|write| write.object.to_string())
        .collect();
    // This chart always renders `failurePolicy: Ignore`, and istiod always turns it.
    let expected: &[&str] = match version {
        "1.19.3" => &["ValidatingWebhookConfiguration istiod-default-validator"],
        _ => &[],
    };
    assert_eq!(moved, expected);
}

#[tokio::test]
async fn the_mesh_of_the_guide_rolls_out() {
    rolls_out("1.19.3", "1.74.0").await;
}

#[tokio::test]
async fn the_newest_mesh_rolls_out() {
    rolls_out("1.30.3", "2.29.0").await;
}

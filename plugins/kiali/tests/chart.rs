//! The values against the real charts, rendered by helm: same bytes every time, and the key mounted where Kiali looks.
//!
//! Charts come from `MESHRUN_CHARTS`, else from `../shared/charts` beside the repository; without them or without helm
//! (`MESHRUN_HELM`, else `.cache/bin/helm`, else the `PATH`) there is nothing to test against.

use std::{env, fs, path::PathBuf, process::Command};

use meshrun_kiali::{Config, Kiali};
use meshrun_sdk::{
    Step,
    prelude::{ActionKind, Value, json},
    serde_json,
    testing::FakeCluster,
};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn charts() -> PathBuf {
    env::var_os("MESHRUN_CHARTS").map_or_else(|| repository().join("../shared/charts"), PathBuf::from)
}

fn helm() -> PathBuf {
    let cached = repository().join(".cache/bin/helm");
    let fallback = if cached.exists() { cached } else { PathBuf::from("helm") };
    env::var_os("MESHRUN_HELM").map_or(fallback, PathBuf::from)
}

/// Renders what the step plans; `None` where there is no chart or no helm.
fn render(with: Value) -> Option<String> {
    let config: Config = serde_json::from_value(with).expect("a configuration");
    let plan = Kiali::plan(&config, &FakeCluster::new().cx("kiali")).expect("a plan");
    let release = plan.actions().iter().find_map(|action| match &action.kind {
        ActionKind::Helm(release) => Some(release.clone()),
        _ => None,
    })?;
    let chart = charts().join(format!("{}-{}.tgz", release.chart.name, release.chart.version));
    if !chart.exists() {
        return None;
    }
    let values = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.json", release.chart.version));
    fs::write(&values, release.values.to_string()).expect("write the values");
    let mut command = Command::new(helm());
    command.arg("template").arg(&release.release).arg(&chart).args(["--namespace", &release.namespace]);
    let output = command.arg("--values").arg(&values).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("text"))
}

fn check(version: &str) {
    let with = json!({ "version": version, "auth_strategy": "anonymous" });
    let Some(first) = render(with.clone()) else { return };
    assert_eq!(Some(&first), render(with).as_ref(), "a second run would restart Kiali");
    assert!(first.contains("signing_key: secret:kiali-signing-key:value.txt"));
    assert_eq!(first.matches("mountPath: \"/kiali-override-secrets/login-token-signing-key\"").count(), 1);
    assert!(first.contains("secretName: kiali-signing-key"));
    assert!(first.contains("  kind: ClusterRole\n  name: kiali-viewer\n"), "it may only look");
    assert!(first.contains(&format!("image: \"quay.io/kiali/kiali:v{version}\"")));
}

#[test]
fn chart_of_1_74_renders_the_same_twice_and_mounts_the_key() {
    check("1.74.0");
}

#[test]
fn chart_of_2_29_renders_the_same_twice_and_mounts_the_key() {
    check("2.29.0");
}

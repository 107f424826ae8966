//! Where charts come from.

use super::*;
use crate::{helm::ChartArchive, lock::LockFile};

async fn refused(helm: &Helm, chart: &Chart) -> String {
    told(&helm.chart(chart).await.expect_err("the chart cannot be had"))
}

fn offline(mirrors: Vec<PathBuf>) -> (Helm, TempDir) {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let options = HelmOptions { helm: helm_program(), mirrors, cache: cache.path().into(), lock: None };
    (Helm::new(options), cache)
}

#[tokio::test]
async fn says_what_was_searched() {
    let (helm, _cache) = offline(vec!["charts".into()]);
    insta::assert_snapshot!(refused(&helm, &chart("istiod", "9.9.9")).await);
}

#[tokio::test]
async fn says_that_a_repository_cannot_be_reached() {
    let (helm, _cache) = offline(vec!["charts".into()]);
    // Port 1 of this machine: refused at once, and nothing leaves it.
    let mut chart = chart("istiod", "1.19.3");
    chart.repository = Some("http://127.0.0.1:1/charts".into());
    insta::assert_snapshot!(refused(&helm, &chart).await);
    chart.repository = Some("oci://127.0.0.1:1/charts".into());
    insta::assert_snapshot!(refused(&helm, &chart).await);
}

#[tokio::test]
async fn pulls_from_a_repository_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let helm = dir.path().join("helm");
    // Plays helm: answers its version, and puts a chart where it is told to.
    let archive = dir.path().join("mesh-1.0.0.tgz");
    let chart_dir = dir.path().join("mesh");
    fs_err::create_dir(&chart_dir).expect("it is made");
    fs_err::write(chart_dir.join("Chart.yaml"), "name: mesh\nversion: 1.0.0\n").expect("it is written");
    let file = fs_err::File::create(&archive).expect("it is made");
    ChartArchive::load(&chart_dir).expect("it is a chart").pack(None, file).expect("it is packed");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {calls}\n[ $1 = version ] && echo v3.17.3 && exit\ncp {archive} \"$8\"\n",
        calls = dir.path().join("calls").display(),
        archive = archive.display(),
    );
    fs_err::write(&helm, script).expect("it is written");
    fs_err::set_permissions(&helm, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is set");

    let mut chart = chart("mesh", "1.0.0");
    chart.repository = Some("https://charts.example.com".into());
    for _ in 0..2 {
        let options =
            HelmOptions { helm: Some(helm.clone()), cache: dir.path().join("cache"), ..Default::default() };
        assert_eq!(Helm::new(options).chart(&chart).await.expect("it is pulled").title(), "mesh 1.0.0");
    }
    let calls = fs_err::read_to_string(dir.path().join("calls")).expect("helm was called");
    let calls: Vec<_> =
        calls.lines().map(|line| line.split(" --destination").next().unwrap_or(line)).collect();
    assert_eq!(
        calls,
        ["version --template {{.Version}}", "pull mesh --repo https://charts.example.com --version 1.0.0"]
    );
}

#[tokio::test]
async fn a_path_goes_before_the_mirrors_and_must_hold_the_chart() {
    let (helm, _cache) = offline(vec![fixtures()]);
    let mut chart = chart("istiod", "1.30.3");
    chart.path = Some(fixtures().join("istiod-1.30.3").display().to_string());
    assert_eq!(helm.chart(&chart).await.expect("it is there").title(), "istiod 1.30.3");
    chart.version = "1.19.3".into();
    let told = refused(&helm, &chart).await.replace(&fixtures().display().to_string(), "CHARTS");
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn refuses_what_is_no_chart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs_err::write(dir.path().join("mesh-1.0.0.tgz"), "not gzip").expect("it is written");
    let (helm, _cache) = offline(vec![dir.path().into()]);
    let told =
        refused(&helm, &chart("mesh", "1.0.0")).await.replace(&dir.path().display().to_string(), "CHARTS");
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn refuses_an_archive_that_leaves_its_directory() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("mesh-1.0.0.tgz");
    let file = fs_err::File::create(&path).expect("it is made");
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    let name = b"mesh/../../evil.yaml";
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_size(0);
    header.set_cksum();
    archive.append(&header, std::io::empty()).expect("it is written");
    archive.into_inner().and_then(flate2::write::GzEncoder::finish).expect("it is written");
    let error = ChartArchive::load(&path).expect_err("it leaves its directory");
    assert_eq!(
        error.to_string(),
        format!(
            "`{}` is no chart: it holds a file outside of its directory: `mesh/../../evil.yaml`",
            path.display()
        )
    );
}

#[tokio::test]
async fn a_vendored_chart_is_pinned_by_its_digest() {
    let (helm, _cache) = offline(vec![fixtures()]);
    let mirror = tempfile::tempdir().expect("a temporary directory");
    let charts = [chart("base", "1.19.3"), chart("gateway", "1.30.3")];
    let vendored = helm.vendor(&charts, mirror.path()).await.expect("the charts are there");
    assert!(mirror.path().join("base-1.19.3.tgz").is_file());

    let mut lock = LockFile::default();
    for chart in &vendored {
        lock.charts.insert(chart.title(), chart.digest.clone());
    }
    let pinned = |lock: &LockFile| {
        Helm::new(HelmOptions {
            mirrors: vec![mirror.path().into()],
            lock: Some(lock.clone()),
            ..HelmOptions::default()
        })
    };
    pinned(&lock).chart(&charts[0]).await.expect("it is the pinned one");
    lock.charts.insert("base 1.19.3".into(), "sha256:0".into());
    let told = refused(&pinned(&lock), &charts[0]).await;
    let told =
        told.replace(&mirror.path().display().to_string(), "CHARTS").replace(&vendored[0].digest, "DIGEST");
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn vendoring_twice_gives_the_same_bytes() {
    let (helm, _cache) = offline(vec![fixtures()]);
    let digest = async || {
        let mirror = tempfile::tempdir().expect("a temporary directory");
        let vendored = helm.vendor(&[chart("istiod", "1.19.3")], mirror.path()).await.expect("it is there");
        vendored[0].digest.clone()
    };
    assert_eq!(digest().await, digest().await);
}

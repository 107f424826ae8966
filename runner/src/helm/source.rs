//! From a chart's name and version to the chart: a path, a mirror directory, the cache, a repository.

use std::path::{Path, PathBuf};

use meshrun_protocol::Chart;

use super::{
    ChartArchive, Helm, HelmError,
    binary::{Binary, clean_message},
    blocking, cache, digest,
};

impl Helm {
    /// Returns a chart: from its path, else from a mirror, else from its repository. Read once per process.
    ///
    /// # Errors
    /// Where nobody has the chart, what is there is another or no chart, or its digest is not the pinned one.
    pub async fn chart(&self, chart: &Chart) -> Result<std::sync::Arc<ChartArchive>, HelmError> {
        let cell = self.charts.cell(chart.clone());
        let archive = cell
            .get_or_try_init(|| async {
                let archive = self.find(chart).await?;
                self.check_pin(&archive)?;
                Ok::<_, HelmError>(std::sync::Arc::new(archive))
            })
            .await?;
        Ok(archive.clone())
    }

    /// Copies charts into a mirror directory, pulling those that are not at hand. Returns them as they are there.
    ///
    /// # Errors
    /// Where a chart cannot be had or written.
    pub async fn vendor(&self, charts: &[Chart], to: &Path) -> Result<Vec<ChartArchive>, HelmError> {
        fs_err::create_dir_all(to).map_err(HelmError::file("create the mirror directory"))?;
        let mut vendored = Vec::new();
        for chart in charts {
            let archive = self.find(chart).await?;
            let file = to.join(format!("{}-{}.tgz", archive.name, archive.version));
            if archive.path.is_dir() {
                // Written beside it first: a mirror never holds half a chart.
                let mut temporary =
                    tempfile::NamedTempFile::new_in(to).map_err(HelmError::file("write a chart"))?;
                archive.pack(None, &mut temporary).map_err(HelmError::file("write a chart"))?;
                temporary.persist(&file).map_err(|error| HelmError::file("write a chart")(error.error))?;
            } else if archive.path != file {
                fs_err::copy(&archive.path, &file).map_err(HelmError::file("copy a chart"))?;
            }
            vendored.push(ChartArchive::load(&file)?);
        }
        Ok(vendored)
    }

    async fn find(&self, chart: &Chart) -> Result<ChartArchive, HelmError> {
        if let Some(path) = &chart.path {
            let path = PathBuf::from(path);
            let archive = blocking(move || ChartArchive::load(&path)).await?;
            if !is_wanted(&archive, chart) {
                return Err(HelmError::OtherChart {
                    path: archive.path.clone(),
                    found: archive.title(),
                    wanted: title(chart),
                });
            }
            return Ok(archive);
        }
        let (mirrors, wanted) = (self.options.mirrors.clone(), chart.clone());
        if let Some(archive) = blocking(move || in_mirrors(&mirrors, &wanted)).await? {
            return Ok(archive);
        }
        let Some(repository) = &chart.repository else { return Err(self.not_found(chart, None)) };
        let dir = self.options.cache.join("charts").join(pull_key(repository, chart));
        let file = dir.join(format!("{}-{}.tgz", chart.name, plain(&chart.version)));
        if !file.is_file() {
            let binary = self.binary().await?;
            if let Err(message) = pull(binary, repository, chart, &file).await? {
                return Err(self.not_found(chart, Some((repository.clone(), message))));
            }
        }
        blocking(move || ChartArchive::load(&file)).await
    }

    fn not_found(&self, chart: &Chart, repository: Option<(String, String)>) -> HelmError {
        HelmError::NotFound { chart: title(chart), mirrors: self.options.mirrors.clone(), repository }
    }

    fn check_pin(&self, archive: &ChartArchive) -> Result<(), HelmError> {
        let pinned = self.options.lock.as_ref().and_then(|lock| lock.charts.get(&archive.title()));
        match pinned {
            Some(pinned) if *pinned != archive.digest => Err(HelmError::Pinned {
                chart: archive.title(),
                path: archive.path.clone(),
                digest: archive.digest.clone(),
                pinned: pinned.clone(),
            }),
            _ => Ok(()),
        }
    }
}

fn in_mirrors(mirrors: &[PathBuf], chart: &Chart) -> Result<Option<ChartArchive>, HelmError> {
    for mirror in mirrors {
        let versioned = format!("{}-{}", chart.name, plain(&chart.version));
        for name in [format!("{versioned}.tgz"), versioned, chart.name.clone()] {
            let path = mirror.join(name);
            if path.is_file() || path.join("Chart.yaml").is_file() {
                let archive = ChartArchive::load(&path)?;
                if is_wanted(&archive, chart) {
                    return Ok(Some(archive));
                }
            }
        }
    }
    Ok(None)
}

/// Pulls a chart with helm, in one step as others see it; the inner error is what helm says.
async fn pull(
    binary: &Binary,
    repository: &str,
    chart: &Chart,
    file: &Path,
) -> Result<Result<(), String>, HelmError> {
    let dir = file.parent().unwrap_or(Path::new("."));
    cache::create_dir(dir).map_err(HelmError::file("create the chart cache"))?;
    let scratch = tempfile::tempdir_in(dir).map_err(HelmError::file("create the chart cache"))?;
    let destination = scratch.path().display().to_string();
    let mut args = vec!["pull".to_owned()];
    if repository.starts_with("oci://") {
        let repository = repository.trim_end_matches('/');
        let named = repository.rsplit('/').next() == Some(&chart.name);
        args.push(if named { repository.into() } else { format!("{repository}/{}", chart.name) });
    } else {
        args.extend([chart.name.clone(), "--repo".into(), repository.into()]);
    }
    args.extend(["--version".into(), chart.version.clone(), "--destination".into(), destination]);
    let output = binary.run(&args, None).await?;
    if !output.success {
        return Ok(Err(clean_message(&output.stderr)));
    }
    let pulled = fs_err::read_dir(scratch.path())
        .map_err(HelmError::file("read the pulled chart"))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"));
    match pulled {
        Some(pulled) => {
            fs_err::rename(pulled, file).map_err(HelmError::file("keep the pulled chart"))?;
            Ok(Ok(()))
        }
        None => Ok(Err("it gave no archive".into())),
    }
}

fn pull_key(repository: &str, chart: &Chart) -> String {
    let mut key = digest::Parts::default();
    key.add(repository);
    key.add(&chart.name);
    key.add(&chart.version);
    key.hex()
}

fn is_wanted(archive: &ChartArchive, chart: &Chart) -> bool {
    archive.name == chart.name && plain(&archive.version) == plain(&chart.version)
}

/// Charts are versioned with and without a leading `v`; helm takes both for the same.
fn plain(version: &str) -> &str {
    version.strip_prefix('v').unwrap_or(version)
}

fn title(chart: &Chart) -> String {
    format!("{} {}", chart.name, chart.version)
}

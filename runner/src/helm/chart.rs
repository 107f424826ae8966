//! A chart, read into memory: from an archive or a directory to its files, its digest and what its templates use.

use std::{
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use serde_json::{Map, Value, json};

use super::{HelmError, digest, ignore::Ignore, yaml};

/// Largest chart that is read, unpacked; helm has the same limit.
const MAX_SIZE: u64 = 100 << 20;

/// A chart as it lies on disk.
#[derive(Debug, Clone)]
pub struct ChartArchive {
    /// Name in its Chart.yaml.
    pub name: String,
    /// Version in its Chart.yaml.
    pub version: String,
    /// Archive or directory it was read from.
    pub path: PathBuf,
    /// `sha256:...` of the names and contents of its files: the same for a directory, an archive of it, and every
    /// repository that has it.
    pub digest: String,
    /// What its templates use.
    pub(crate) uses: Uses,
    files: Vec<File>,
}

/// A file of a chart.
#[derive(Debug, Clone)]
struct File {
    /// Path inside the chart: `templates/deployment.yaml`.
    name: String,
    data: Vec<u8>,
}

/// What the templates of a chart ask about the world: each makes the rendering depend on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uses {
    /// `.Capabilities.APIVersions`: the APIs that the cluster serves.
    pub(crate) api_versions: bool,
    /// `.Release.IsUpgrade` or `.Release.IsInstall`.
    pub(crate) upgrade: bool,
    /// Templates that `lookup` objects in the cluster, which finds nothing outside of helm's own install.
    pub(crate) lookup: Vec<String>,
}

impl ChartArchive {
    /// Reads a chart archive (`.tgz`) or directory. Blocks.
    ///
    /// # Errors
    /// Where the file cannot be read or is no chart.
    pub fn load(path: &Path) -> Result<Self, HelmError> {
        let no_chart = |problem: String| HelmError::NoChart { path: path.into(), problem };
        let entry = fs_err::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => no_chart("there is no such file or directory".into()),
            _ => HelmError::file("read a chart")(error),
        })?;
        let is_dir = entry.is_dir();
        let mut files = if is_dir {
            read_dir(path)?
        } else {
            let archive = fs_err::read(path).map_err(HelmError::file("read a chart"))?;
            unpack(&archive).map_err(no_chart)?
        };
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let metadata = metadata(&files).map_err(no_chart)?;
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            name: text("name"),
            version: text("version"),
            path: path.into(),
            digest: digest_of(&files),
            uses: Uses::of(&files),
            files,
        })
    }

    /// Name and version, as people say it: `istiod 1.19.3`.
    pub fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// Version of what the chart installs.
    pub fn app_version(&self) -> Option<String> {
        metadata(&self.files).ok()?["appVersion"].as_str().map(Into::into)
    }

    /// Whether the chart has a file of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.name == name)
    }

    /// Writes the chart, with one more file, as an archive that helm reads.
    pub(crate) fn pack(&self, extra: Option<(&str, &str)>, out: impl io::Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(GzEncoder::new(out, Compression::fast()));
        let files = self.files.iter().map(|file| (file.name.as_str(), file.data.as_slice()));
        for (name, data) in files.chain(extra.map(|(name, text)| (name, text.as_bytes()))) {
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, format!("{}/{name}", self.name), data)?;
        }
        archive.into_inner()?.finish()?;
        Ok(())
    }

    /// The chart as helm keeps it in the record of a release.
    ///
    /// # Errors
    /// Where Chart.lock or values.yaml is no YAML.
    pub fn record(&self) -> Result<Value, HelmError> {
        let no_chart = |problem: String| HelmError::NoChart { path: self.path.clone(), problem };
        let parsed = |name: &str| match self.files.iter().find(|file| file.name == name) {
            Some(file) => yaml::parse_lenient(&String::from_utf8_lossy(&file.data))
                .map_err(|message| no_chart(format!("{name}: {message}"))),
            None => Ok(Value::Null),
        };
        let entry = |file: &File| json!({ "name": file.name, "data": STANDARD.encode(&file.data) });
        let (mut templates, mut files, mut schema) = (Vec::new(), Vec::new(), Value::Null);
        for file in &self.files {
            match file.name.as_str() {
                "Chart.yaml" | "Chart.lock" | "values.yaml" => {}
                "values.schema.json" => schema = STANDARD.encode(&file.data).into(),
                name if name.starts_with("templates/") => templates.push(entry(file)),
                // Subcharts are not part of helm's record either.
                name if name.starts_with("charts/") => {}
                _ => files.push(entry(file)),
            }
        }
        let values = match parsed("values.yaml")? {
            Value::Null => json!({}),
            values => values,
        };
        Ok(json!({
            "metadata": metadata(&self.files).map_err(no_chart)?,
            "lock": parsed("Chart.lock")?,
            "templates": templates,
            "values": values,
            "schema": schema,
            "files": files,
        }))
    }
}

impl Uses {
    fn of(files: &[File]) -> Self {
        let mut uses = Self::default();
        for file in files {
            // Templates of subcharts count too; archives among them are not looked into.
            if !file.name.starts_with("templates/") && !file.name.contains("/templates/") {
                continue;
            }
            let text = String::from_utf8_lossy(&file.data);
            uses.api_versions |= text.contains("APIVersions");
            uses.upgrade |= text.contains("IsUpgrade") || text.contains("IsInstall");
            if looks_up(&text) {
                uses.lookup.push(file.name.clone());
            }
        }
        // What cannot be seen is taken as used.
        let hidden = files.iter().any(|file| file.name.starts_with("charts/") && file.name.ends_with(".tgz"));
        uses.api_versions |= hidden;
        uses.upgrade |= hidden;
        uses
    }
}

/// Whether a template calls `lookup` outside of its comments.
fn looks_up(template: &str) -> bool {
    template.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()).any(|action| {
        let action = action.trim_start_matches('-').trim_start();
        !action.starts_with("/*")
            && action.split(|c: char| c.is_whitespace() || "()|".contains(c)).any(|word| word == "lookup")
    })
}

/// Reads Chart.yaml into the fields that helm knows, as the types it wants: `appVersion: 1.2` is text.
fn metadata(files: &[File]) -> Result<Value, String> {
    const TEXT: &[&str] = &[
        "name",
        "home",
        "version",
        "description",
        "icon",
        "apiVersion",
        "condition",
        "tags",
        "appVersion",
        "kubeVersion",
        "type",
    ];
    const OTHER: &[&str] =
        &["sources", "keywords", "maintainers", "deprecated", "annotations", "dependencies"];

    let file = files.iter().find(|file| file.name == "Chart.yaml").ok_or("it has no Chart.yaml")?;
    let chart = yaml::parse_lenient(&String::from_utf8_lossy(&file.data))
        .map_err(|message| format!("Chart.yaml: {message}"))?;
    let mut metadata = Map::new();
    for (key, value) in chart.as_object().into_iter().flatten() {
        let value = match value {
            Value::Null => continue,
            Value::Number(_) | Value::Bool(_) if TEXT.contains(&key.as_str()) => value.to_string().into(),
            Value::Object(entries) if key == "annotations" => {
                entries.iter().map(|(key, value)| (key.clone(), as_text(value))).collect::<Map<_, _>>().into()
            }
            value => value.clone(),
        };
        if TEXT.contains(&key.as_str()) || OTHER.contains(&key.as_str()) {
            metadata.insert(key.clone(), value);
        }
    }
    for field in ["name", "version"] {
        if metadata.get(field).and_then(Value::as_str).unwrap_or_default().is_empty() {
            return Err(format!("its Chart.yaml has no {field}"));
        }
    }
    metadata.entry("apiVersion").or_insert_with(|| "v1".into());
    Ok(metadata.into())
}

fn as_text(value: &Value) -> Value {
    match value {
        Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

fn unpack(archive: &[u8]) -> Result<Vec<File>, String> {
    if !archive.starts_with(&[0x1f, 0x8b]) {
        return Err("it is no gzip archive".into());
    }
    let mut archive = tar::Archive::new(MultiGzDecoder::new(archive).take(MAX_SIZE));
    let mut files = Vec::new();
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| format!("it is damaged: {error}"))?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().map_err(|error| error.to_string())?.into_owned();
        let Some(name) = inner_name(&path) else {
            return Err(format!("it holds a file outside of its directory: `{}`", path.display()));
        };
        let mut data = Vec::new();
        entry.read_to_end(&mut data).map_err(|error| error.to_string())?;
        files.push(File { name, data });
    }
    Ok(files)
}

/// The path below the archive's one root directory; `None` where it would leave it.
fn inner_name(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    match parts.split_first()? {
        (_, []) => None,
        (_, inner) => Some(inner.join("/")),
    }
}

fn read_dir(root: &Path) -> Result<Vec<File>, HelmError> {
    let ignore = match fs_err::read_to_string(root.join(".helmignore")) {
        Ok(text) => Ignore::new(&text),
        Err(_) => Ignore::default(),
    };
    let mut files = Vec::new();
    let mut open = vec![String::new()];
    while let Some(dir) = open.pop() {
        for entry in fs_err::read_dir(root.join(&dir)).map_err(HelmError::file("read a chart"))? {
            let entry = entry.map_err(HelmError::file("read a chart"))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = if dir.is_empty() { name } else { format!("{dir}/{name}") };
            // Links are followed, as helm does.
            let is_dir = fs_err::metadata(entry.path()).map_err(HelmError::file("read a chart"))?.is_dir();
            if ignore.matches(&name, is_dir) {
                continue;
            }
            if is_dir {
                open.push(name);
            } else {
                let data = fs_err::read(entry.path()).map_err(HelmError::file("read a chart"))?;
                files.push(File { name, data });
            }
        }
    }
    Ok(files)
}

fn digest_of(files: &[File]) -> String {
    let mut digest = digest::Parts::default();
    for File { name, data } in files {
        digest.add(name);
        digest.add(data);
    }
    format!("sha256:{}", digest.hex())
}

//! From what `uses:` says to a file: no guessing by the dynamic linker, and an error that says where it was looked for.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
};

use super::{PluginError, Wanted};

/// Environment variable with directories of plugins, separated as in `PATH`.
const DIRECTORIES: &str = "MESHRUN_PLUGINS";

/// Directories that hold plugins, the first one wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPath {
    directories: Vec<PathBuf>,
}

impl SearchPath {
    /// The directories given, then those of `MESHRUN_PLUGINS`, then those around the executable.
    pub fn new(given: Vec<PathBuf>) -> Self {
        let from_env = env::var_os(DIRECTORIES);
        let from_env = from_env.iter().flat_map(env::split_paths).filter(|path| !path.as_os_str().is_empty());
        let around =
            env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned())).map(|directory| {
                let installed = directory.with_file_name("lib/meshrun/plugins");
                [directory.clone(), directory.join("plugins"), installed]
            });
        Self::only(given.into_iter().chain(from_env).chain(around.into_iter().flatten()).collect())
    }

    /// These directories and no other.
    pub fn only(directories: Vec<PathBuf>) -> Self {
        Self { directories }
    }

    /// Names of all plugin files, for lists and suggestions; nothing is opened.
    pub fn names(&self) -> BTreeSet<String> {
        let entries =
            self.directories.iter().filter_map(|directory| directory.read_dir().ok()).flatten().flatten();
        entries.filter_map(|entry| name_of(entry.file_name().to_str()?)).collect()
    }

    /// Returns the absolute path of the wanted plugin.
    pub(super) fn resolve(&self, wanted: Wanted<'_>) -> Result<PathBuf, PluginError> {
        let given = wanted.file.or_else(|| is_path(wanted.uses).then(|| Path::new(wanted.uses)));
        let path = match given {
            Some(file) => wanted.base.join(file),
            None => self.find(wanted.uses)?,
        };
        std::path::absolute(&path).map_err(|source| PluginError::Read { path, source })
    }

    fn find(&self, name: &str) -> Result<PathBuf, PluginError> {
        let file = file_name(name);
        let mut candidates = self.directories.iter().map(|directory| directory.join(&file));
        candidates.find(|candidate| candidate.exists()).ok_or_else(|| PluginError::Unknown {
            name: name.to_owned(),
            similar: self.similar(name),
            searched: self.directories.clone(),
        })
    }

    fn similar(&self, name: &str) -> Option<String> {
        let distance = |known: &String| strsim::damerau_levenshtein(name, known);
        let nearest = self.names().into_iter().min_by_key(distance)?;
        (distance(&nearest) <= 1 + name.len() / 4).then_some(nearest)
    }
}

/// Whether `uses:` gives a path instead of a name.
pub(super) fn is_path(uses: &str) -> bool {
    uses.contains('/')
}

fn file_name(name: &str) -> String {
    let (prefix, suffix) = (env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX);
    format!("{prefix}meshrun_{}{suffix}", name.replace('-', "_"))
}

fn name_of(file: &str) -> Option<String> {
    let stem = file.strip_prefix(env::consts::DLL_PREFIX)?.strip_suffix(env::consts::DLL_SUFFIX)?;
    Some(stem.strip_prefix("meshrun_")?.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(directories: &[&Path], uses: &str, file: Option<&str>, expected: Result<PathBuf, &str>) {
        let search = SearchPath::only(directories.iter().map(|path| path.to_path_buf()).collect());
        let file = file.map(Path::new);
        let found = search.resolve(Wanted { uses, file, base: Path::new("/pipelines"), pin: None });
        let found = found.map_err(|error| format!("{error}; {}", error.hint().unwrap_or_default()));
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    fn directory(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for file in files {
            fs_err::write(directory.path().join(file), "").expect("a file in it");
        }
        directory
    }

    #[test]
    fn first_directory_wins() {
        let (one, two) = (directory(&["libmeshrun_istio_base.so"]), directory(&["libmeshrun_istio_base.so"]));
        let expected = two.path().join("libmeshrun_istio_base.so");
        check(&[two.path(), one.path()], "istio-base", None, Ok(expected));
    }

    #[test]
    fn paths_start_at_the_pipeline_file() {
        check(&[], "./build/libmine.so", None, Ok("/pipelines/build/libmine.so".into()));
        check(&[], "/opt/libmine.so", None, Ok("/opt/libmine.so".into()));
        check(&[], "mine", Some("build/libmine.so"), Ok("/pipelines/build/libmine.so".into()));
    }

    #[test]
    fn unknown_name_comes_with_the_nearest_known_one() {
        let known = directory(&["libmeshrun_kiali.so", "libmeshrun_gateway.so", "libother.so", "README.md"]);
        let searched = format!("searched {}", known.path().display());
        check(&[known.path()], "kaili", None, Err("there is no plugin `kaili`; did you mean `kiali`?"));
        let unknown = format!(
            "there is no plugin `jaeger`; name its directory with --plugins or MESHRUN_PLUGINS, or its file under \
             `plugins:` in the pipeline ({searched})"
        );
        check(&[known.path()], "jaeger", None, Err(&unknown));
    }
}

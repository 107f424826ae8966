//! A directory to run the built `meshrun` in, and what it said as a transcript for snapshots.

use std::{
    env, fmt,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{Meshrun, binary, fixtures};

/// The directory of the binary and its plugins.
pub fn built() -> &'static Path {
    binary().parent().expect("it lies in target/debug")
}

/// The charts written for tests.
pub fn stand_in_charts() -> PathBuf {
    fixtures::root().join("tests/fixtures/charts")
}

/// The real charts, where they are at hand.
pub fn real_charts() -> Option<PathBuf> {
    let named = env::var_os("MESHRUN_CHARTS").map(PathBuf::from);
    let charts = named.unwrap_or_else(|| fixtures::root().join("../shared/charts"));
    charts.join("istiod-1.19.3.tgz").is_file().then_some(charts)
}

/// A pipeline with one step per line: `id uses needs...`.
pub fn steps(lines: &[&str]) -> String {
    let mut text = String::from("name: test\nsteps:\n");
    for line in lines {
        let mut words = line.split(' ');
        let (id, uses) = (words.next().expect("an id"), words.next().expect("a plugin"));
        let needs: Vec<_> = words.collect();
        text.push_str(&format!("  - id: {id}\n    uses: {uses}\n"));
        if !needs.is_empty() {
            text.push_str(&format!("    needs: [{}]\n", needs.join(", ")));
        }
    }
    text
}

/// A directory that is gone at the end of the test; commands run in it.
pub struct Sandbox {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

impl Sandbox {
    /// An empty one. The stand-in charts are the mirror.
    pub fn empty() -> Self {
        Self { directory: TempDir::new().expect("a temporary directory"), variables: Vec::new() }
    }

    /// The same with the shipped pipelines in `pipelines/`.
    pub fn with_pipelines() -> Self {
        let mut sandbox = Self::empty();
        for name in shipped() {
            let file = format!("pipelines/{name}.yaml");
            let text = fs_err::read_to_string(fixtures::root().join(&file)).expect("a pipeline");
            sandbox = sandbox.file(&file, &text);
        }
        sandbox
    }

    /// Puts a file there.
    pub fn file(self, name: &str, text: &str) -> Self {
        self.write(name, text.as_bytes());
        self
    }

    /// Puts a program there.
    pub fn script(self, name: &str, text: &str) -> Self {
        let path = self.write(name, text.as_bytes());
        fs_err::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("a mode");
        self
    }

    /// Sets a variable of the environment; an empty value takes one away.
    pub fn env(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.variables.push((name.into(), value.as_ref().display().to_string()));
        self
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().expect("it lies in the sandbox")).expect("a directory");
        fs_err::write(&path, bytes).expect("a file");
        path
    }

    /// The path of a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs `meshrun` with these arguments, separated by spaces.
    pub fn run(&self, arguments: &str) -> Outcome {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        self.run_words(&arguments)
    }

    /// Runs `meshrun` with these arguments.
    pub fn run_words(&self, arguments: &[&str]) -> Outcome {
        let mut meshrun = Meshrun::new(arguments)
            .current_dir(self.directory.path())
            .env("COLUMNS", "80")
            .env("MESHRUN_CHARTS", stand_in_charts())
            .env("MESHRUN_CACHE", self.path("cache"));
        for (name, value) in &self.variables {
            meshrun = match value.as_str() {
                "" => meshrun.without_env(name),
                value => meshrun.env(name, value),
            };
        }
        let finished = meshrun.run();
        Outcome {
            line: format!("meshrun {}", self.anonymous(&arguments.join(" "))).trim_end().to_owned(),
            code: finished.code.expect("it was not killed"),
            stdout: self.anonymous(&finished.stdout),
            stderr: self.anonymous(&finished.stderr),
        }
    }

    /// Runs several command lines, one after the other, and returns all that was said.
    pub fn session(&self, lines: &[&str]) -> String {
        lines.iter().map(|line| self.run(line).to_string()).collect::<Vec<_>>().join("\n")
    }

    /// Takes out of a text what differs from machine to machine.
    fn anonymous(&self, text: &str) -> String {
        let sandbox = self.directory.path().display().to_string();
        let target = built().parent().expect("target");
        let places = [(built(), "[BUILT]"), (target, "[TARGET]"), (fixtures::root(), "[REPO]")];
        let text = text.replace(&sandbox, "[DIR]");
        places.iter().fold(text, |text, (path, name)| text.replace(&path.display().to_string(), name))
    }
}

/// The names of the shipped pipelines.
pub fn shipped() -> Vec<String> {
    let mut names: Vec<_> = fs_err::read_dir(fixtures::root().join("pipelines"))
        .expect("the shipped pipelines")
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".yaml")?.to_owned()))
        .collect();
    names.sort();
    names
}

/// What a command said and how it ended.
pub struct Outcome {
    line: String,
    /// Its exit code.
    pub code: i32,
    /// What it said.
    pub stdout: String,
    /// What went wrong.
    pub stderr: String,
}

impl Outcome {
    /// The outcome of a command that must end well.
    pub fn success(self) -> Self {
        assert!(self.code == 0 && self.stderr.is_empty(), "{self}");
        self
    }
}

/// `$ meshrun ...`, standard output, standard error behind `!`, the exit code.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.line)?;
        for line in self.stdout.lines() {
            writeln!(f, "{line}")?;
        }
        for line in self.stderr.lines() {
            writeln!(f, "{}", format!("! {line}").trim_end())?;
        }
        writeln!(f, "[{}]", self.code)
    }
}

/// Compares what was said with the snapshot; digests, times and sizes are made alike.
pub fn check(name: &str, said: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../tests/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter("sha256:[0-9a-f]{64}", "sha256:[DIGEST]");
    settings.add_filter(r"\b\d+\.\ds\b", "[TIME]");
    settings.add_filter(r"it has \d+ bytes and needs \d+", "it has [SIZE] bytes and needs [SIZE]");
    settings.bind(|| insta::assert_snapshot!(name, said));
}

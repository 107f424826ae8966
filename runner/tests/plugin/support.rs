//! Builds the test plugins once and loads them as meshrun does.

use std::{
    ffi::OsString,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{LazyLock, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use meshrun::plugin::{HostServices, Isolation, Limits, Loader, Plugin, PluginError, SearchPath, Wanted};
use meshrun_protocol::{ClusterInfo, Failure, LogEvent, Output, PlanRequest, PlanResponse};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The executable under test, which is also the process of a plugin.
pub const MESHRUN: &str = env!("CARGO_BIN_EXE_meshrun");

static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
    let target = Path::new(MESHRUN).ancestors().nth(2).expect("target/debug/meshrun").join("test-plugins");
    build(&target, "tests/fixtures/plugins", &["--examples"]);
    build(&target, "sdk/examples/echo", &[]);
    target.join("debug")
});

fn build(target: &Path, package: &str, arguments: &[&str]) {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package).join("Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .args(arguments)
        .status();
    assert!(built.expect("cargo runs").success(), "{package} does not build");
}

/// A built test plugin's file.
pub fn built(example: &str) -> PathBuf {
    BUILT.join(format!("examples/lib{example}.so"))
}

/// The SDK's example.
pub fn echo() -> PathBuf {
    BUILT.join("libmeshrun_echo.so")
}

/// A directory with plugins and a cache, gone at the end of the test.
pub struct Bench {
    pub directory: TempDir,
    isolation: Isolation,
}

impl Bench {
    /// With these test plugins in it.
    pub fn new(examples: &[&str]) -> Self {
        let bench =
            Self { directory: TempDir::new().expect("a temporary directory"), isolation: Isolation::Child };
        for example in examples {
            bench.put(example, &fs_err::read(built(example)).expect("a built plugin"));
        }
        bench
    }

    pub fn in_process(mut self) -> Self {
        self.isolation = Isolation::InProcess;
        self
    }

    /// Puts any bytes there as a plugin.
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs_err::write(&path, bytes).expect("a file");
        self.chmod(name, 0o755);
        path
    }

    pub fn chmod(&self, name: &str, mode: u32) {
        fs_err::set_permissions(self.path(name), PermissionsExt::from_mode(mode)).expect("a mode");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("libmeshrun_{name}.so"))
    }

    pub fn loader(&self) -> Loader {
        Loader::new(SearchPath::only(vec![self.directory.path().into()]))
            .program(MESHRUN)
            .cache(self.directory.path().join("cache"))
            .isolation(self.isolation)
    }

    pub async fn load(&self, uses: &str) -> Result<Plugin, PluginError> {
        self.loader().load(Wanted { uses, file: None, base: Path::new("/"), pin: None }).await
    }

    /// What is said of a plugin that cannot be loaded; the directory reads `DIR`.
    pub async fn refusal(&self, uses: &str) -> String {
        let error = self.load(uses).await.expect_err("a refusal");
        text(&error).replace(&self.directory.path().display().to_string(), "DIR")
    }

    /// What the hostile plugin says, or what is said of it.
    pub async fn plan(&self, mode: &str) -> Result<String, String> {
        self.plan_within(mode, Duration::from_secs(30)).await
    }

    /// The same with a time limit of its own.
    pub async fn plan_within(&self, mode: &str, limit: Duration) -> Result<String, String> {
        let plugin = self.load("hostile").await.expect("the plugin loads");
        let (request, limits) = (request(json!({ "mode": mode })), Limits::timeout(limit));
        let answer = plugin.start().plan(&request, &Recorder::default(), &limits).await;
        answer.map(|plan| said(&plan)).map_err(|error| text(&error))
    }
}

/// The error with its causes and its hint, as a terminal shows it.
pub fn text(error: &PluginError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let mut text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    if let Some(hint) = error.hint() {
        text.push_str(&format!("\nhint: {hint}"));
    }
    text
}

pub fn request(config: Value) -> PlanRequest {
    let (cluster, needs) = (ClusterInfo::default(), Vec::new());
    PlanRequest { step: "test".into(), config, cluster, needs, allow_skip: false }
}

/// The output `said` of a plan.
pub fn said(plan: &PlanResponse) -> String {
    match plan.outputs.get("said") {
        Some(Output::Value { value }) => value.as_str().expect("a string").into(),
        other => panic!("said {other:?}"),
    }
}

/// A cluster with one namespace; remembers log lines.
#[derive(Default)]
pub struct Recorder {
    pub lines: Mutex<Vec<String>>,
}

#[async_trait]
impl HostServices for Recorder {
    async fn call(&self, service: &str, request: Value) -> Result<Value, Failure> {
        match service {
            "cluster.get/v1" if request["name"] == "default" => Ok(json!({ "kind": "Namespace" })),
            "cluster.get/v1" => Ok(Value::Null),
            _ => Err(Failure {
                code: "service".into(),
                message: format!("there is no {service}"),
                path: None,
                hint: None,
                retryable: false,
            }),
        }
    }

    fn emit(&self, event: LogEvent) {
        self.lines.lock().expect("nobody panicked").push(event.message);
    }
}

/// Where a test plugin's source says this: `examples/hostile.rs:70`.
pub fn place(example: &str, code: &str) -> String {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/plugins/examples").join(example);
    let text = fs_err::read_to_string(source).expect("a source file");
    let line = text.lines().position(|line| line.contains(code)).expect("a line that says so");
    format!("examples/{example}:{}", line + 1)
}

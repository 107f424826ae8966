//! The cluster that tests run against, and the witnesses that look at it without meshrun: kubectl, helm 3, helm 4.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use serde_json::Value;

use crate::{Lab, Meshrun, Objects, fixtures};

/// Names a kubeconfig to run on another cluster than the lab. **Everything of Istio there is deleted before each test.**
const OTHER_CLUSTER: &str = "MESHRUN_TEST_KUBECONFIG";

/// The cluster of this test process: a lab, or another one that `MESHRUN_TEST_KUBECONFIG` names.
pub struct Cluster {
    lab: Option<Lab>,
    kubeconfig: PathBuf,
}

/// Which helm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helm {
    /// Helm 3.
    V3,
    /// Helm 4.
    V4,
}

/// Returns the cluster, empty and without faults; one test at a time has it.
///
/// # Panics
/// When there is none.
pub fn cluster() -> MutexGuard<'static, Cluster> {
    static CLUSTER: OnceLock<Mutex<Cluster>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| Mutex::new(Cluster::start())).lock();
    // A test that failed leaves nothing that the reset does not put right.
    let cluster = cluster.unwrap_or_else(PoisonError::into_inner);
    cluster.reset();
    cluster
}

impl Cluster {
    fn start() -> Self {
        match env::var_os(OTHER_CLUSTER) {
            Some(kubeconfig) => Self { lab: None, kubeconfig: kubeconfig.into() },
            None => {
                let lab = Lab::start().expect("a lab");
                Self { kubeconfig: lab.kubeconfig().to_owned(), lab: Some(lab) }
            }
        }
    }

    /// Goes back to the empty cluster.
    ///
    /// # Panics
    /// When the lab has died, or kubectl fails.
    pub fn reset(&self) {
        if let Some(lab) = &self.lab {
            return lab.reset().expect("the lab goes back");
        }
        let objects = self.objects();
        let ours = |name: &str| name.contains("istio") || name.contains("kiali") || name.contains("meshrun");
        // Webhooks first, so that nothing stands in the way of the rest; CRDs last.
        for kind in [
            "ValidatingWebhookConfiguration",
            "MutatingWebhookConfiguration",
            "Namespace",
            "Secret",
            "Lease",
            "ClusterRoleBinding",
            "ClusterRole",
            "CustomResourceDefinition",
        ] {
            for name in objects.names(kind).filter(|name| ours(name)) {
                let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
                self.kubectl(["delete", kind, name, "-n", namespace, "--ignore-not-found"]);
            }
        }
    }

    /// The lab, for faults that no other cluster can have. `None` on another cluster: the test says so and ends.
    pub fn lab(&self) -> Option<&Lab> {
        if self.lab.is_none() {
            eprintln!("skipped: this test needs the lab, and {OTHER_CLUSTER} is set");
        }
        self.lab.as_ref()
    }

    /// The admin's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Starts describing a `meshrun` command on this cluster.
    pub fn meshrun<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Meshrun {
        Meshrun::new(arguments).env("KUBECONFIG", &self.kubeconfig)
    }

    /// Asks kubectl and returns what it prints.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn kubectl<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        answer(self.command("kubectl").args(arguments))
    }

    /// Applies a manifest as a user would.
    ///
    /// # Panics
    /// When the server does not take it.
    #[track_caller]
    pub fn apply(&self, file: &Path) {
        self.kubectl([OsStr::new("apply"), "--server-side".as_ref(), "-f".as_ref(), file.as_os_str()]);
    }

    /// Returns one object as it is in the cluster.
    ///
    /// # Panics
    /// When it does not exist.
    #[track_caller]
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Value {
        json(&self.kubectl(["get", kind, name, "-n", namespace, "-o", "json"]))
    }

    /// Asks helm and returns what it prints.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn helm<A: AsRef<OsStr>>(&self, helm: Helm, arguments: impl IntoIterator<Item = A>) -> String {
        let tool = if helm == Helm::V3 { "helm" } else { "helm4" };
        answer(self.command(tool).args(arguments))
    }

    /// Asks helm with `-o json`.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn helm_json(&self, helm: Helm, arguments: &[&str]) -> Value {
        json(&self.helm(helm, arguments.iter().copied().chain(["-o", "json"])))
    }

    /// Reads everything that can be listed.
    ///
    /// # Panics
    /// When kubectl fails.
    #[track_caller]
    pub fn objects(&self) -> Objects {
        let kinds = self.kubectl(["api-resources", "--verbs=list", "-o", "name"]);
        let kinds: Vec<&str> = kinds.lines().filter(|kind| !Objects::ignores(kind)).collect();
        Objects::new(&json(&self.kubectl([
            "get",
            &kinds.join(","),
            "-A",
            "-o",
            "json",
            "--show-managed-fields",
        ])))
    }

    /// Returns what an undisturbed run of a shipped pipeline makes, and goes back to the empty cluster.
    ///
    /// # Panics
    /// When that run fails.
    pub fn undisturbed(&self, pipeline: &str) -> BTreeMap<String, Value> {
        self.meshrun(["run"]).arg(fixtures::pipeline(pipeline)).run().expect_code(0);
        let made = self.objects().made();
        self.reset();
        made
    }

    /// Opens a way to a port behind an object: `forward("istio-system", "svc/kiali", 20001)`.
    ///
    /// # Panics
    /// When kubectl does not open it.
    #[track_caller]
    pub fn forward(&self, namespace: &str, to: &str, port: u16) -> Forward {
        let mut command = self.command("kubectl");
        command.args(["port-forward", "-n", namespace, to, &format!(":{port}")]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        stdout.read_line(&mut line).expect("kubectl says where");
        // Forwarding from 127.0.0.1:36713 -> 20001
        let address = line.split(' ').nth(2).unwrap_or_default().to_owned();
        assert!(address.starts_with("127.0.0.1:"), "kubectl port-forward says {line:?}");
        Forward { address, child, _stdout: stdout }
    }

    fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(fixtures::tool(tool).expect("a client tool"));
        command.env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null());
        command
    }
}

/// A port-forward of kubectl; closed when dropped.
pub struct Forward {
    /// Where it is open: `127.0.0.1:PORT`.
    pub address: String,
    child: Child,
    /// It goes on talking, and ends when nobody listens.
    _stdout: BufReader<ChildStdout>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn answer(command: &mut Command) -> String {
    let output = command.output().expect("the tool starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON: {error}\n{text}"))
}

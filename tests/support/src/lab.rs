//! The lab of this test process: started once, put back between tests, its faults switched through its control endpoint.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::{fixtures, http};

/// A lab that runs.
pub struct Lab {
    program: PathBuf,
    directory: PathBuf,
    info: Info,
}

/// What a lab says about itself in `lab.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    kubeconfig: PathBuf,
    kubeconfig_proxy: PathBuf,
    control: String,
    gateway: Gateway,
}

#[derive(Debug, Deserialize)]
struct Gateway {
    http: String,
}

impl Lab {
    /// Starts a lab in a directory of its own; it ends with this process at the latest.
    ///
    /// # Errors
    /// When the lab cannot be built or does not start.
    pub fn start() -> Result<Self> {
        let program = fixtures::script("build.sh", &[])?;
        let directory = own_directory()?;
        let mut up = Command::new(&program);
        up.arg("up").arg("--dir").arg(&directory).args(["--watch-pid", &std::process::id().to_string()]);
        let up = up.arg("--detach").output().context("start the lab")?;
        ensure!(up.status.success(), "the lab does not start:\n{}", String::from_utf8_lossy(&up.stderr));
        let info = fs_err::read(directory.join("lab.json"))?;
        Ok(Self { program, info: serde_json::from_slice(&info)?, directory })
    }

    /// The admin's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.info.kubeconfig
    }

    /// The admin's kubeconfig through the fault proxy.
    pub fn proxy_kubeconfig(&self) -> &Path {
        &self.info.kubeconfig_proxy
    }

    /// Where the double of the ingress gateway answers: `127.0.0.1:PORT`.
    pub fn gateway(&self) -> &str {
        &self.info.gateway.http
    }

    /// A directory for the test process, beside the lab's own files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Goes back to the empty cluster and takes back every fault.
    ///
    /// # Errors
    /// When the lab has died.
    pub fn reset(&self) -> Result<()> {
        self.ask("POST", "/reset", &Value::Null).map(drop)
    }

    /// Changes or shows a setting: `control("PATCH", "/double", json!({"webhook": "refuse"}))`.
    ///
    /// # Panics
    /// When the lab refuses.
    #[track_caller]
    pub fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, path, body).expect("the lab does as it is told")
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let address = self.info.control.trim_start_matches("http://");
        let answer = http::request(method, address, path, &body)?;
        ensure!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
        Ok(serde_json::from_str(&answer.body).unwrap_or(Value::Null))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = Command::new(&self.program).arg("down").arg("--dir").arg(&self.directory).output();
        let _ = fs_err::remove_dir_all(&self.directory);
    }
}

/// Makes a directory named after this process, and removes those of processes that are gone: a lab in a `static` is
/// never dropped, it ends by `--watch-pid` and leaves its files.
fn own_directory() -> Result<PathBuf> {
    const PREFIX: &str = "meshrun-lab-";
    let parent = env::temp_dir();
    for entry in fs_err::read_dir(&parent)?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            // Another test process may be at the same.
            let _ = fs_err::remove_dir_all(entry.path());
        }
    }
    let directory = parent.join(format!("{PREFIX}{}", std::process::id()));
    fs_err::create_dir_all(&directory)?;
    Ok(directory)
}

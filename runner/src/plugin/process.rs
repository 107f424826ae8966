//! The other end of [`super::host`]: starts a plugin's process, asks, answers its calls, and ends it.

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    Doing, End, HostServices, Limits, PluginError,
    artifact::Artifact,
    frame::{Frame, Kind},
    host, services,
};

/// What a plugin may see of the environment: where to put temporary files, and how much to say about a panic.
const ENVIRONMENT: [&str; 2] = ["TMPDIR", "RUST_BACKTRACE"];
/// How much of what a plugin printed is kept for an error.
const OUTPUT: usize = 4096;
/// How long a process may take to end, and its output to arrive, once its pipe is closed.
const ENDING: Duration = Duration::from_millis(500);

/// A plugin's process; it ends with this value.
#[derive(Debug)]
pub(super) struct PluginProcess {
    artifact: Arc<Artifact>,
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
    output: Output,
}

impl PluginProcess {
    /// Starts a process and waits until the plugin is loaded.
    pub(super) async fn spawn(artifact: Arc<Artifact>, limits: &Limits) -> Result<Self, PluginError> {
        let start = |source| PluginError::Start { plugin: artifact.label().to_owned(), source };
        let mut command = Command::new(artifact.program());
        command
            .arg(host::SUBCOMMAND)
            .arg(artifact.image().path())
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its children end with it, and Ctrl-C is for meshrun alone.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(start)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(to), Some(from), Some(printed)) = pipes else {
            return Err(start(io::ErrorKind::BrokenPipe.into()));
        };
        let output = Output::collect(artifact.label().to_owned(), printed);
        let mut process = Self { artifact, child, to, from, output };

        let greeting = process.converse(Doing::Loading, None, &services::NoServices, limits).await?;
        match greeting.kind {
            Kind::Ready => Ok(process),
            Kind::Refused => Err(match serde_json::from_str(&greeting.body) {
                Ok(error) => process.artifact.refused(error),
                Err(error) => process.unreadable(Doing::Loading, error.to_string()),
            }),
            other => Err(process.unreadable(Doing::Loading, format!("{other:?}"))),
        }
    }

    /// Asks; the answer is JSON. After any error but [`PluginError::Failed`] there is nobody left to ask.
    pub(super) async fn ask(
        &mut self,
        doing: Doing,
        question: Frame,
        services: &dyn HostServices,
        limits: &Limits,
    ) -> Result<String, PluginError> {
        let answer = self.converse(doing.clone(), Some(question), services, limits).await?;
        match answer.kind {
            Kind::Answer => Ok(answer.body),
            Kind::Failed => Err(match serde_json::from_str(&answer.body) {
                Ok(failure) => {
                    PluginError::Failed { plugin: self.artifact.label().to_owned(), doing, failure }
                }
                Err(error) => self.unreadable(doing, error.to_string()),
            }),
            other => Err(self.unreadable(doing, format!("{other:?}"))),
        }
    }

    /// Runs the conversation within its limits, and finds out what ended it where it ended early.
    async fn converse(
        &mut self,
        doing: Doing,
        question: Option<Frame>,
        services: &dyn HostServices,
        limits: &Limits,
    ) -> Result<Frame, PluginError> {
        let frame = tokio::select! {
            () = limits.cancel.cancelled() => Err(Interruption::Cancelled),
            frame = self.exchange(question, services, limits.timeout) => frame,
        };
        let plugin = || self.artifact.label().to_owned();
        match frame {
            Ok(frame) => Ok(frame),
            Err(Interruption::Cancelled) => Err(PluginError::Cancelled { plugin: plugin(), doing }),
            Err(Interruption::TimedOut) => {
                let (plugin, limit) = (plugin(), limits.timeout);
                self.kill();
                Err(PluginError::TimedOut { plugin, doing, limit, output: self.output.tail().await })
            }
            Err(Interruption::Pipe(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Err(self.unreadable(doing, error.to_string()))
            }
            Err(Interruption::Pipe(_)) => {
                let (plugin, end) = (plugin(), self.end().await);
                Err(PluginError::Crashed { plugin, doing, end, output: self.output.tail().await })
            }
        }
    }

    /// Sends the question and serves the plugin until it has an answer. Only the plugin's own time counts.
    async fn exchange(
        &mut self,
        question: Option<Frame>,
        services: &dyn HostServices,
        mut remaining: Duration,
    ) -> Result<Frame, Interruption> {
        if let Some(question) = question {
            timeout(remaining, question.send(&mut self.to)).await??;
        }
        let mut counted = Instant::now();
        loop {
            let frame = timeout(remaining, Frame::receive(&mut self.from)).await??;
            remaining = remaining.saturating_sub(counted.elapsed());
            counted = Instant::now();
            match frame.kind {
                Kind::Service => {
                    let reply = match services::answer(services, &frame.name, &frame.body).await {
                        Ok(answer) => Frame::new(Kind::ServiceAnswer, "", answer),
                        Err(failure) => {
                            Frame::new(Kind::ServiceFailed, "", serde_json::json!(failure).to_string())
                        }
                    };
                    counted = Instant::now();
                    timeout(remaining, reply.send(&mut self.to)).await??;
                }
                Kind::Emit => services::emit(services, &frame.body),
                _ => return Ok(frame),
            }
        }
    }

    /// Waits for the end of a process that hung up, or brings it about.
    async fn end(&mut self) -> End {
        let status = match timeout(ENDING, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                self.kill();
                None
            }
        };
        status.and_then(how).unwrap_or(End::HungUp)
    }

    fn kill(&mut self) {
        // Once it was waited for, its number may be somebody else's.
        let group = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(group) = group {
            // Gone already is as good.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }

    fn unreadable(&self, doing: Doing, detail: String) -> PluginError {
        PluginError::Unreadable { plugin: self.artifact.label().to_owned(), doing, detail }
    }
}

impl Drop for PluginProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What ends a conversation early.
enum Interruption {
    Cancelled,
    TimedOut,
    Pipe(io::Error),
}

impl From<io::Error> for Interruption {
    fn from(error: io::Error) -> Self {
        Self::Pipe(error)
    }
}

impl From<tokio::time::error::Elapsed> for Interruption {
    fn from(_: tokio::time::error::Elapsed) -> Self {
        Self::TimedOut
    }
}

fn how(status: ExitStatus) -> Option<End> {
    status.signal().map(End::Signal).or(status.code().map(End::Exit))
}

/// What a plugin prints: every line to the log, the end of it kept.
#[derive(Debug)]
struct Output {
    tail: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Output {
    fn collect(plugin: String, from: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let tail = Arc::new(Mutex::new(Vec::new()));
        let reader = tokio::spawn(read(plugin, from, tail.clone()));
        Self { tail, reader }
    }

    /// Returns the end of it, once everything has arrived.
    async fn tail(&mut self) -> String {
        // A process that the plugin left behind may hold the pipe open.
        let _ = timeout(ENDING, &mut self.reader).await;
        let bytes = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(plugin: String, mut from: impl AsyncRead + Unpin, tail: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; OUTPUT];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let text = String::from_utf8_lossy(&buffer[..length]);
        for line in text.lines().filter(|line| !line.is_empty()) {
            tracing::debug!(target: "meshrun::plugin", plugin, "{line}");
        }
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(&buffer[..length]);
        let surplus = tail.len().saturating_sub(OUTPUT);
        tail.drain(..surplus);
    }
}

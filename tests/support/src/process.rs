//! The binary as people start it: arguments and environment in; exit code and everything it printed out.

use std::{
    ffi::OsStr,
    fmt,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{binary, fixtures};

/// How long a command may take before it counts as hanging.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A `meshrun` command about to be started.
///
/// It sees nothing of the surroundings but `PATH`: no kubeconfig, an empty home, a render cache of its own, the charts
/// of [`fixtures::charts`], helm 3.
pub struct Meshrun {
    command: Command,
    timeout: Duration,
    /// Home and cache, removed when the command has ended.
    home: TempDir,
}

impl Meshrun {
    /// Starts describing a command.
    ///
    /// # Panics
    /// When the binary cannot be built.
    pub fn new<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let home = TempDir::new().expect("a temporary directory");
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .current_dir(fixtures::root())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("MESHRUN_CACHE", home.path().join("cache"))
            .env("MESHRUN_CHARTS", fixtures::charts())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Ok(helm) = fixtures::tool("helm") {
            command.env("MESHRUN_HELM", helm);
        }
        Self { command, timeout: TIMEOUT, home }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Takes an environment variable away: `MESHRUN_CHARTS`, `MESHRUN_HELM`.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Sets the working directory; without it, it is the root of the repository.
    #[must_use]
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Sets how long the command may take; without it, two minutes.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs the command to its end.
    ///
    /// # Panics
    /// When it takes longer than its timeout; the message has everything that it printed.
    pub fn run(self) -> Finished {
        self.start().wait()
    }

    /// Starts the command.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut self) -> Running {
        let program = Path::new(self.command.get_program()).file_name().unwrap_or_default().to_owned();
        let words = std::iter::once(program.as_os_str()).chain(self.command.get_args());
        let title = words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
        let started = Instant::now();
        let mut child = self.command.spawn().expect("meshrun starts");
        let stdout = Stream::follow(child.stdout.take().expect("it is piped"));
        let stderr = Stream::follow(child.stderr.take().expect("it is piped"));
        Running { child, title, started, deadline: started + self.timeout, stdout, stderr, _home: self.home }
    }
}

/// A `meshrun` command at work; killed when dropped.
pub struct Running {
    child: Child,
    title: String,
    started: Instant,
    deadline: Instant,
    stdout: Stream,
    stderr: Stream,
    _home: TempDir,
}

impl Running {
    /// Waits until a line of standard output is as wanted, and returns it.
    ///
    /// # Panics
    /// When the command ends or its timeout passes before.
    pub fn wait_for_line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.stdout.wait_for(self.deadline, wanted).unwrap_or_else(|| {
            let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
            panic!("no line with {what} came\n$ {}\n{stdout}\n--- stderr\n{stderr}", self.title)
        })
    }

    /// Waits until a line of standard output is as wanted; `None` where the command ends or its timeout passes before.
    pub fn line(&self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        self.stdout.wait_for(self.deadline, wanted)
    }

    /// Whether the command has ended.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends SIGTERM, as `kill` and a CI system do.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(mut self) -> Finished {
        // Not by process id: one that has ended may be another process's by now.
        let _ = self.child.kill();
        self.wait()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        // It may have ended meanwhile; its exit code tells.
        let _ = kill_process(pid, signal);
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When the command takes longer than its timeout; the message has everything that it printed.
    pub fn wait(mut self) -> Finished {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break Some(status);
            }
            if Instant::now() > self.deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        let finished = Finished {
            code: status.and_then(|status| status.code()),
            elapsed: self.started.elapsed(),
            stdout: self.stdout.end(),
            stderr: self.stderr.end(),
            title: self.title.clone(),
        };
        assert!(status.is_some(), "did not end in time\n{finished}");
        finished
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `meshrun` command that has ended. Shown, it is the command with everything that it printed.
pub struct Finished {
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Everything on standard output.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
    /// How long it took.
    pub elapsed: Duration,
    title: String,
}

impl Finished {
    /// Asserts the exit code.
    ///
    /// # Panics
    /// When it is another one; the message has everything that the command printed.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert!(self.code == Some(code), "exit code {:?}, wanted {code}\n{self}", self.code);
        self
    }

    /// Asserts that a text is somewhere in what the command printed.
    ///
    /// # Panics
    /// When it is not; the message has everything that the command printed.
    #[track_caller]
    pub fn expect_text(self, text: &str) -> Self {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "no `{text}` in\n{self}");
        self
    }

    /// Returns the events of `--report json`.
    ///
    /// # Panics
    /// When a line is not a JSON object with an event and a time.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let parse = |line: &str| {
            let event: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("`{line}`: {error}\n{self}"));
            assert!(event["event"].is_string() && event["time"].is_f64(), "no event: {line}\n{self}");
            event
        };
        self.stdout.lines().map(parse).collect()
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, stdout, stderr, elapsed, title } = self;
        writeln!(f, "$ {title}\n{stdout}--- stderr\n{stderr}--- exit code {code:?} after {elapsed:.1?}")
    }
}

/// What comes out of a process, line by line, while it runs.
struct Stream {
    shared: Arc<(Mutex<Lines>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Stream {
    fn follow(source: impl Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(Lines::default()), Condvar::new()));
        let writer = Arc::clone(&shared);
        let reader = thread::spawn(move || {
            let (lines, changed) = &*writer;
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                lines.lock().unwrap_or_else(PoisonError::into_inner).lines.push(line);
                changed.notify_all();
            }
            lines.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
            changed.notify_all();
        });
        Self { shared, reader: Some(reader) }
    }

    fn wait_for(&self, deadline: Instant, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let (lines, changed) = &*self.shared;
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = 0;
        loop {
            if let Some(line) = lines.lines[seen..].iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            seen = lines.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended || left.is_zero() {
                return None;
            }
            lines = changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn text(&self) -> String {
        let lines = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Waits for the end of the stream and returns everything.
    fn end(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.text()
    }
}

//! The process that runs a plugin for meshrun: `meshrun __plugin-host FILE`.
//!
//! The protocol has pipes of its own: what the plugin prints to standard output goes to standard error, which meshrun
//! collects, and its standard input is empty. The process ends with the pipe from meshrun, whatever the plugin is at.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, sync_channel},
    },
};

use meshrun_protocol::Failure;
use rustix::process::{Resource, Rlimit, Signal};
use serde::Serialize;

use super::{
    frame::{Frame, Kind, LARGEST_BODY},
    load::{Module, Services},
    services::failure,
};

/// First argument of a process that runs a plugin; not for people.
pub const SUBCOMMAND: &str = "__plugin-host";

/// The plugin file, where this process was started to run one.
pub fn requested(arguments: impl IntoIterator<Item = OsString>) -> Option<PathBuf> {
    let mut arguments = arguments.into_iter().skip(1);
    (arguments.next()? == SUBCOMMAND).then(|| arguments.next().map(PathBuf::from))?
}

/// The executable to start for it: this one, also after its file was replaced.
pub(super) fn program() -> PathBuf {
    if cfg!(target_os = "linux") {
        return "/proc/self/exe".into();
    }
    std::env::current_exe().unwrap_or_else(|_| "meshrun".into())
}

/// Runs a plugin for the process at the other end of standard input and output, until that hangs up.
pub fn child_main(path: &Path) -> ExitCode {
    // Nobody listens to a reason: the process that would has gone, or sees this one end.
    serve(path).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn serve(path: &Path) -> io::Result<()> {
    restrict();
    let connection = Mutex::new(Connection::take_over_stdio()?);
    let module = match Module::load(path) {
        Ok(module) => module,
        Err(error) => return lock(&connection).send(Kind::Refused, "", &json(&error)),
    };
    lock(&connection).send(Kind::Ready, "", "")?;
    loop {
        // The lock is not held while the plugin runs, which needs it to call services.
        let question = lock(&connection).receive()?;
        let answer = match question.kind {
            Kind::Describe => module.describe().map(|description| json(&description)),
            Kind::Call => module.call(&Pipe(&connection), &question.name, &question.body),
            other => Err(failure("plugin", format!("{other:?} is no question"))),
        };
        match answer.and_then(fitting) {
            Ok(answer) => lock(&connection).send(Kind::Answer, "", &answer)?,
            Err(failure) => lock(&connection).send(Kind::Failed, "", &json(&failure))?,
        }
    }
}

fn fitting(answer: String) -> Result<String, Failure> {
    match answer.len() {
        0..=LARGEST_BODY => Ok(answer),
        length => Err(failure("plugin", format!("its answer is too large: {length} bytes"))),
    }
}

/// Gives up what no plugin needs. Where the system does not know such a restriction, the plugin runs without it.
fn restrict() {
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_no_new_privs(true);
}

/// The pipes to meshrun.
struct Connection {
    to: File,
    from: Receiver<Frame>,
}

impl Connection {
    fn take_over_stdio() -> io::Result<Self> {
        let from = duplicate(rustix::stdio::stdin())?;
        let to = duplicate(rustix::stdio::stdout())?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
        Ok(Self { to, from: reader(from)? })
    }

    fn send(&mut self, kind: Kind, name: &str, body: &str) -> io::Result<()> {
        Frame::new(kind, name, body).write(&mut self.to)
    }

    fn receive(&mut self) -> io::Result<Frame> {
        self.from.recv().map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }
}

fn duplicate(descriptor: impl std::os::fd::AsFd) -> io::Result<File> {
    let copy: OwnedFd = rustix::io::fcntl_dupfd_cloexec(descriptor, 3)?;
    Ok(copy.into())
}

/// Reads on a thread of its own, so that the end of meshrun is seen while the plugin computes.
///
/// `PR_SET_PDEATHSIG` would be simpler, but it means the end of the *thread* that started this process, and threads of
/// an async runtime come and go.
fn reader(mut from: File) -> io::Result<Receiver<Frame>> {
    let (sender, receiver) = sync_channel(1);
    std::thread::Builder::new().name("meshrun".into()).spawn(move || {
        while let Ok(frame) = Frame::read(&mut from) {
            if sender.send(frame).is_err() {
                break;
            }
        }
        // Not `exit`: the plugin's exit handlers could wait for a lock that the plugin holds.
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    })?;
    Ok(receiver)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Services by pipe.
struct Pipe<'a>(&'a Mutex<Connection>);

impl Services for Pipe<'_> {
    fn call(&self, service: &str, request: &str) -> Result<String, Failure> {
        let lost = |error: io::Error| failure("service", format!("call {service}: {error}"));
        let mut connection = lock(self.0);
        connection.send(Kind::Service, service, request).map_err(lost)?;
        let answer = connection.receive().map_err(lost)?;
        match answer.kind {
            Kind::ServiceAnswer => Ok(answer.body),
            _ => Err(serde_json::from_str(&answer.body)
                .unwrap_or_else(|error| failure("service", format!("call {service}: {error}")))),
        }
    }

    fn emit(&self, event: &str) {
        // Lost with the connection, and then so is everything else.
        let _ = lock(self.0).send(Kind::Emit, "", event);
    }

    fn cancelled(&self) -> bool {
        // A cancelled run ends this process.
        false
    }
}

fn json<T: Serialize>(message: &T) -> String {
    serde_json::to_string(message).expect("messages have string keys and no failing serialiser")
}

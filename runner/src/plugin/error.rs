//! What can be wrong with a plugin, and what to do about it.

use std::{fmt, io, path::PathBuf, time::Duration};

use meshrun_protocol::Failure;

use super::{Digest, ElfError, LoadError};

/// Why a plugin cannot be used or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// No directory holds it.
    #[error("there is no plugin `{name}`")]
    Unknown {
        /// What `uses:` says.
        name: String,
        /// The name nearest to it, if one is near.
        similar: Option<String>,
        /// The directories that were searched.
        searched: Vec<PathBuf>,
    },
    /// The file cannot be read.
    #[error("read plugin file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could have put code into the file.
    #[error("plugin file `{}` {problem}", path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Why it is not trusted.
        problem: Untrusted,
    },
    /// The file is not the one that was pinned.
    #[error("plugin file `{}` has changed: it is {found}, pinned is {pinned}", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The digest in the lock file.
        pinned: Digest,
        /// The digest of the file.
        found: Digest,
    },
    /// The file is no plugin for this machine.
    #[error("plugin file `{}` cannot be used", path.display())]
    Elf {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ElfError,
    },
    /// The file cannot be loaded.
    #[error("load plugin file `{}`", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Why.
        source: LoadError,
    },
    /// The plugin gives itself another name.
    #[error("plugin file `{}` holds `{found}`, not `{wanted}`", path.display())]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// What `uses:` says.
        wanted: String,
        /// What the plugin says.
        found: String,
    },
    /// The plugin cannot do without services that only a newer meshrun has.
    #[error("plugin `{plugin}` needs what this meshrun does not have: {}", missing.join(", "))]
    TooNew {
        /// The plugin.
        plugin: String,
        /// The services, such as `cluster.get/v2`.
        missing: Vec<String>,
    },
    /// Its process cannot be started.
    #[error("start a process for plugin `{plugin}`")]
    Start {
        /// The plugin.
        plugin: String,
        /// Why.
        source: io::Error,
    },
    /// It answered with an error of its own.
    #[error("{}", failed(plugin, doing, failure))]
    Failed {
        /// The plugin.
        plugin: String,
        /// What it was doing.
        doing: Doing,
        /// What it says.
        failure: Box<Failure>,
    },
    /// Its process ended before it answered.
    #[error("plugin `{plugin}` {end} while it {doing}")]
    Crashed {
        /// The plugin.
        plugin: String,
        /// What it was doing.
        doing: Doing,
        /// How its process ended.
        end: End,
        /// The end of what it printed.
        output: String,
    },
    /// It took too long; its process was killed.
    #[error("plugin `{plugin}` {} within {}", doing.undone(), humantime::format_duration(*limit))]
    TimedOut {
        /// The plugin.
        plugin: String,
        /// What it was doing.
        doing: Doing,
        /// The time it had.
        limit: Duration,
        /// The end of what it printed.
        output: String,
    },
    /// The run was cancelled; its process was killed.
    #[error("plugin `{plugin}` was stopped while it {doing}")]
    Cancelled {
        /// The plugin.
        plugin: String,
        /// What it was doing.
        doing: Doing,
    },
    /// Its answer is not what the protocol says.
    #[error("plugin `{plugin}` sent something unreadable while it {doing}: {detail}")]
    Unreadable {
        /// The plugin.
        plugin: String,
        /// What it was doing.
        doing: Doing,
        /// What is wrong with it.
        detail: String,
    },
}

impl PluginError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { similar, searched, .. } => {
                if let Some(similar) = similar {
                    return Some(format!("did you mean `{similar}`?"));
                }
                let searched: Vec<_> = searched.iter().map(|path| path.display().to_string()).collect();
                Some(format!(
                    "name its directory with --plugins or MESHRUN_PLUGINS, or its file under `plugins:` in the \
                     pipeline (searched {})",
                    searched.join(", ")
                ))
            }
            Self::Untrusted { path, problem } => problem.hint(path),
            Self::Changed { .. } => {
                Some("if you meant to change it, pin it anew: with `meshrun vendor`, or as `sha256:` under `plugins:`".into())
            }
            Self::Elf { source, .. } => Some(source.hint().into()),
            Self::Load { source, .. } => source.hint(),
            Self::Misnamed { found, .. } => {
                Some(format!("write `uses: {found}`, or give the file of the other plugin"))
            }
            Self::TooNew { .. } => Some("upgrade meshrun, or use an older release of the plugin".into()),
            Self::Failed { failure, .. } if failure.code == "panicked" => {
                Some("this is a defect of the plugin: report it to its author".into())
            }
            Self::Failed { failure, .. } => failure.hint.clone(),
            Self::Crashed { output, .. } => {
                Some(with_output("this is a defect of the plugin, nothing else is affected", output))
            }
            Self::TimedOut { output, .. } => {
                Some(with_output("its process was killed, nothing else is affected; run it again", output))
            }
            Self::Unreadable { .. } => {
                Some("build the plugin with a newer meshrun-sdk, or tell its author".into())
            }
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("relative paths start at the file that names them".into())
            }
            Self::Read { .. } | Self::Start { .. } | Self::Cancelled { .. } => None,
        }
    }

    /// What the plugin itself said, with the path into `with:` where the configuration is at fault.
    pub fn failure(&self) -> Option<&Failure> {
        if let Self::Failed { failure, .. } = self { Some(failure) } else { None }
    }
}

fn failed(plugin: &str, doing: &Doing, failure: &Failure) -> String {
    match failure.code.as_str() {
        "panicked" => format!("plugin `{plugin}` panicked while it {doing}: {}", failure.message),
        _ => format!("plugin `{plugin}`: {}", failure.message),
    }
}

fn with_output(advice: &str, output: &str) -> String {
    if output.is_empty() {
        return advice.into();
    }
    let lines: String = output.lines().map(|line| format!("\n  {line}")).collect();
    format!("{advice}; the last it printed:{lines}")
}

/// What a plugin was doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doing {
    /// Its library was loaded.
    Loading,
    /// It was asked for its description.
    Describing,
    /// It was asked this method, such as `plan/v1`.
    Answering(&'static str),
}

impl Doing {
    fn undone(&self) -> String {
        match self {
            Self::Loading => "could not be loaded".into(),
            Self::Describing => "did not describe itself".into(),
            Self::Answering(method) => format!("did not answer {method}"),
        }
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loading => f.write_str("was loaded"),
            Self::Describing => f.write_str("described itself"),
            Self::Answering(method) => write!(f, "answered {method}"),
        }
    }
}

/// How a plugin's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By this signal.
    Signal(i32),
    /// With this exit code.
    Exit(i32),
    /// It closed its connection and had to be killed.
    HungUp,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(number) => write!(f, "crashed with {}", signal_name(*number)),
            Self::Exit(code) => write!(f, "ended its process with exit code {code}"),
            Self::HungUp => f.write_str("hung up"),
        }
    }
}

fn signal_name(number: i32) -> String {
    let name = match number {
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        // The two numbers that Linux and the BSDs do not share.
        7 if cfg!(target_os = "linux") => "SIGBUS",
        31 if cfg!(target_os = "linux") => "SIGSYS",
        _ => return format!("signal {number}"),
    };
    name.into()
}

/// Why a plugin file is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untrusted {
    /// A directory, a pipe, a device.
    NotAFile(&'static str),
    /// Larger than any plugin.
    TooLarge(u64),
    /// Owned by this user id, who is neither the caller nor root.
    Owner(u32),
    /// Group or others may write to it; its mode.
    Writable(u32),
}

impl Untrusted {
    fn hint(self, path: &std::path::Path) -> Option<String> {
        match self {
            Self::NotAFile(_) | Self::TooLarge(_) => {
                Some("give the plugin's own file, such as `libmeshrun_echo.so`".into())
            }
            Self::Owner(_) => {
                Some("a plugin runs with your rights: copy the file, if you trust its owner".into())
            }
            Self::Writable(_) => Some(format!("run `chmod go-w {}`", path.display())),
        }
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFile(what) => write!(f, "is a {what}, not a shared library"),
            Self::TooLarge(size) => write!(f, "is too large for a plugin ({size} bytes)"),
            Self::Owner(user) => write!(f, "belongs to another user (id {user})"),
            Self::Writable(mode) => write!(f, "is writable by others (mode {mode:04o})"),
        }
    }
}

//! The one place that runs foreign code: `dlopen`, the checks of `abi_stable`, calls.

use std::{
    fmt,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use abi_stable::{
    erased_types::TD_Opaque,
    library::{AbiHeaderRef, LibHeader, LibraryError, ROOT_MODULE_LOADER_NAME_WITH_NUL, RootModule as _},
    std_types::{RErr, ROk, RResult, RStr, RString},
};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use meshrun_abi::{Host, HostBox, PluginModule_Ref};
use meshrun_protocol::{Description, Failure};
use serde::{Deserialize, Serialize};

use super::services::failure;

/// Why a library cannot be loaded. A child process sends it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadError {
    /// The dynamic linker says no.
    #[error("{0}")]
    Open(String),
    /// The export is not what a plugin has, or the plugin was made with another `abi_stable`.
    #[error("its export cannot be understood")]
    Foreign,
    /// Built for another contract.
    #[error("it was built for plugin ABI {found}, this meshrun speaks {expected}")]
    Version {
        /// The host's version.
        expected: String,
        /// The plugin's version.
        found: String,
    },
    /// Built so that its types cannot be compared.
    #[error("it does not say how its types are laid out")]
    NoLayout,
    /// Built for a contract of the same version with other types.
    #[error("its types are not those of plugin ABI {expected}")]
    Layout {
        /// The host's version.
        expected: String,
        /// The file with the whole comparison.
        report: Option<PathBuf>,
    },
    /// Its own initialisation failed.
    #[error("its initialisation failed: {0}")]
    Initialisation(String),
}

impl LoadError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let rebuild = "build the plugin with the meshrun-sdk of this meshrun";
        match self {
            Self::Open(message) if message.contains("GLIBC_") => {
                Some("build the plugin on a system as old as this one, or older".into())
            }
            Self::Open(_) | Self::Initialisation(_) => None,
            Self::Layout { report: Some(report), .. } => {
                Some(format!("{rebuild}; the comparison is in `{}`", report.display()))
            }
            Self::Foreign | Self::Version { .. } | Self::NoLayout | Self::Layout { .. } => {
                Some(rebuild.into())
            }
        }
    }

    /// Replaces the path that was loaded by the one that people know.
    pub(super) fn naming(self, image: &Path, file: &Path) -> Self {
        match self {
            Self::Open(text) => {
                let (image, file) = (image.display().to_string(), file.display().to_string());
                Self::Open(text.replace(&image, &file))
            }
            other => other,
        }
    }
}

/// A loaded plugin. It stays loaded: threads and thread-locals of a library outlive every handle to it.
#[derive(Clone, Copy)]
pub(super) struct Module(PluginModule_Ref);

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Module")
    }
}

impl Module {
    /// Loads a library that `verify` has passed, and checks that its contract is ours.
    pub(super) fn load(path: &Path) -> Result<Self, LoadError> {
        let header = header(path)?;
        let expected = PluginModule_Ref::VERSION_STRINGS;
        // Without a layout, `abi_stable` would believe anything.
        if header.layout().is_none() {
            return Err(LoadError::NoLayout);
        }
        header.init_root_module::<PluginModule_Ref>().map(Self).map_err(|error| match error {
            LibraryError::IncompatibleVersionNumber { .. } | LibraryError::ParseVersionError(_) => {
                LoadError::Version {
                    expected: expected.to_string(),
                    found: header.version_strings().to_string(),
                }
            }
            LibraryError::RootModule { err, .. } => {
                LoadError::Initialisation(err.to_string().trim().to_owned())
            }
            other => LoadError::Layout { expected: expected.to_string(), report: report(&other.to_string()) },
        })
    }

    /// Asks it what it is.
    pub(super) fn describe(self) -> Result<Description, Failure> {
        let text = self.0.describe()();
        let unreadable = |error| failure("plugin", format!("read its description: {error}"));
        // Only a failure has a code, and it lacks what a description must have.
        serde_json::from_str(&text)
            .map_err(|error| serde_json::from_str(&text).unwrap_or_else(|_| unreadable(error)))
    }

    /// Lets it answer a method; messages are JSON.
    pub(super) fn call(
        self,
        services: &dyn Services,
        method: &str,
        message: &str,
    ) -> Result<String, Failure> {
        let host = HostBox::from_value(Guarded(services), TD_Opaque);
        match self.0.call()(host, method.into(), message.into()) {
            ROk(answer) => Ok(answer.into()),
            RErr(text) => Err(serde_json::from_str(&text)
                .unwrap_or_else(|error| failure("plugin", format!("read its failure: {error}")))),
        }
    }
}

#[expect(unsafe_code, reason = "opens a library and reads the symbol that makes it a plugin")]
fn header(path: &Path) -> Result<&'static LibHeader, LoadError> {
    // SAFETY: the constructors of the library run; running its code is what the user asked for, and `verify` has seen
    // that the file is whole, is for this machine and was not left there by somebody else.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    let library = library.map_err(|error| LoadError::Open(chain(&error)))?;
    // SAFETY: under this name, `abi_stable` exports a `LibHeader`, which starts with an `AbiHeader` in every version of
    // it; `is_valid` compares its magic string before anything behind it is read.
    let header = unsafe { library.get::<AbiHeaderRef>(ROOT_MODULE_LOADER_NAME_WITH_NUL.as_bytes()) };
    let header = *header.map_err(|error| LoadError::Open(chain(&error)))?;
    // The header lives in the library.
    std::mem::forget(library);
    header.upgrade().map_err(|_| LoadError::Foreign)
}

/// The message of the dynamic linker is in the source, not in the error.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().unwrap_or(error).to_string()
}

/// Keeps a text of a thousand lines out of the terminal.
fn report(text: &str) -> Option<PathBuf> {
    let mut file = tempfile::Builder::new().prefix("meshrun-plugin-abi-").suffix(".txt").tempfile().ok()?;
    file.write_all(text.as_bytes()).ok()?;
    file.into_temp_path().keep().ok()
}

/// What [`Module::call`] needs of its surroundings; text, because the other side of it may be a pipe.
pub(super) trait Services: Send + Sync {
    fn call(&self, service: &str, request: &str) -> Result<String, Failure>;
    fn emit(&self, event: &str);
    fn cancelled(&self) -> bool;
}

/// Keeps panics of the host out of the plugin: one that crossed the boundary would end the process.
struct Guarded<'a>(&'a dyn Services);

impl Host for Guarded<'_> {
    fn call(&self, service: RStr<'_>, json: RStr<'_>) -> RResult<RString, RString> {
        let answer = catch_unwind(AssertUnwindSafe(|| self.0.call(service.as_str(), json.as_str())));
        let answer =
            answer.unwrap_or_else(|_| Err(failure("service", format!("{service} panicked in meshrun"))));
        match answer {
            Ok(answer) => ROk(answer.into()),
            Err(failure) => RErr(serde_json::json!(failure).to_string().into()),
        }
    }

    fn emit(&self, json: RStr<'_>) {
        // A log line is not worth more than this.
        let _ = catch_unwind(AssertUnwindSafe(|| self.0.emit(json.as_str())));
    }

    fn cancelled(&self) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.0.cancelled())).unwrap_or(true)
    }
}

//! The executable: also the process that runs a plugin.

use std::process::ExitCode;

use meshrun::{app, plugin::host};

fn main() -> ExitCode {
    match host::requested(std::env::args_os()) {
        Some(plugin) => host::child_main(&plugin),
        None => app::main().into(),
    }
}

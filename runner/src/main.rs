//! The executable: also the process that runs a plugin.

use std::process::ExitCode;

use meshrun::plugin::host;

fn main() -> ExitCode {
    if let Some(plugin) = host::requested(std::env::args_os()) {
        return host::child_main(&plugin);
    }
    ExitCode::SUCCESS
}

//! Exit codes: the interface to scripts and CI. `docs/exit-codes.md` is generated from this table.

/// Why meshrun ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything that was asked for is done.
    Success = 0,
    /// A step or a check failed, or the lock was lost before the end.
    Failed = 1,
    /// with `--detailed-exitcode`: there are changes, or drift.
    Changes = 2,
    /// The pipeline, a plugin, a chart or a value in them is wrong, or a file (plan, backup) cannot be used; nothing was
    /// changed.
    BadInput = 3,
    /// The cluster cannot be reached or does not let us in; nothing was changed.
    Cluster = 4,
    /// Another run holds the pipeline's lock, or a helm is at work on one of its releases; nothing was changed.
    Locked = 5,
    /// A deletion or replacement needs a yes that was not given; nothing was changed.
    Refused = 6,
    /// A tool that meshrun needs (helm) is missing or too old; nothing was changed.
    MissingTool = 7,
    /// `destroy` removed what it should, and something of the pipeline is left; the report names it.
    Residue = 8,
    /// The command line is wrong.
    Usage = 64,
    /// A defect of meshrun itself.
    Internal = 70,
    /// Stopped by Ctrl-C or SIGTERM after the work in hand was finished or given up; the report says what was done.
    Interrupted = 130,
}

impl ExitCode {
    /// All codes with their meaning, in order.
    pub const TABLE: &'static [(ExitCode, &'static str)] = &[
        (Self::Success, "everything that was asked for is done"),
        (Self::Failed, "a step or a check failed, or the lock was lost before the end"),
        (Self::Changes, "with `--detailed-exitcode`: there are changes, or drift"),
        (
            Self::BadInput,
            "the pipeline, a plugin, a chart or a value in them is wrong, or a plan or backup file cannot be used; \
             nothing was changed",
        ),
        (Self::Cluster, "the cluster cannot be reached or does not let us in; nothing was changed"),
        (
            Self::Locked,
            "another run holds the pipeline's lock, or a helm is at work on a release; nothing was changed",
        ),
        (Self::Refused, "a deletion or replacement needs a yes that was not given; nothing was changed"),
        (Self::MissingTool, "a tool that meshrun needs (helm) is missing or too old; nothing was changed"),
        (Self::Residue, "`destroy` is done, and something of the pipeline is left; the report names it"),
        (Self::Usage, "the command line is wrong"),
        (Self::Internal, "a defect of meshrun itself"),
        (Self::Interrupted, "stopped by Ctrl-C or SIGTERM; the report says what was done"),
    ];
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    fn document() -> String {
        let mut text = String::from(
            "# Exit codes\n\n\
             Generated from `runner/src/exit_code.rs`: `UPDATE_DOCS=1 cargo test -p meshrun exit_code`.\n\n\
             | code | name | meaning |\n|--:|---|---|\n",
        );
        for (code, meaning) in ExitCode::TABLE {
            text.push_str(&format!("| {} | `{code:?}` | {meaning} |\n", *code as u8));
        }
        text
    }

    #[test]
    fn the_documented_table_is_the_real_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/exit-codes.md");
        if env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, document()).expect("a writable document");
        }
        let written = fs::read_to_string(&path).expect("the document");
        assert_eq!(written, document(), "run `UPDATE_DOCS=1 cargo test -p meshrun exit_code`");
    }

    #[test]
    fn every_code_is_in_the_table_once_and_in_order() {
        let codes: Vec<u8> = ExitCode::TABLE.iter().map(|(code, _)| *code as u8).collect();
        assert!(codes.is_sorted_by(|left, right| left < right), "{codes:?}");
    }
}

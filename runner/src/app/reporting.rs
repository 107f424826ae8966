//! The reporters of a run, from the first event to the last.

use std::time::Instant;

use tokio::{sync::mpsc, task::JoinHandle};

use super::AppError;
use crate::{
    cli::{GlobalArgs, ReportArgs},
    exec::Events,
    report::{self, Options, ReportError, Surroundings},
    text::Style,
};

/// How text on standard output looks.
pub(super) fn style(global: &GlobalArgs, verbose: bool) -> Style {
    let surroundings = Surroundings::detect();
    Options { color: global.color, verbose, surroundings, ..Options::default() }.style()
}

/// Reporters at work.
pub(super) struct Reporting {
    events: Events,
    follower: JoinHandle<Result<(), ReportError>>,
}

impl Reporting {
    /// Starts the reporters that the command line asks for.
    ///
    /// # Errors
    /// A report file cannot be created; nothing has happened yet.
    pub(super) fn start(global: &GlobalArgs, args: &ReportArgs, started: Instant) -> Result<Self, AppError> {
        let options = Options {
            format: args.report,
            color: global.color,
            verbose: args.verbose,
            junit: args.junit.clone(),
            surroundings: Surroundings::detect(),
        };
        let mut reporters = report::build(&options)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let follower = tokio::spawn(async move { report::follow(receiver, &mut reporters, started).await });
        Ok(Self { events: Events::new(sender), follower })
    }

    /// Where events go.
    pub(super) fn events(&self) -> Events {
        self.events.clone()
    }

    /// Waits until everything is reported; every other sender of events must be gone.
    ///
    /// # Errors
    /// Something of the report could not be written.
    pub(super) async fn finish(self) -> Result<(), AppError> {
        drop(self.events);
        let result = self.follower.await;
        result.map_err(|error| AppError::internal(format!("the report failed: {error}")))??;
        Ok(())
    }
}

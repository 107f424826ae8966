//! `meshrun graph`: the steps and what they need.

use super::{AppError, reporting::style, setup::load};
use crate::{
    cli::{GlobalArgs, GraphArgs, GraphFormat},
    exit_code::ExitCode,
    report::{self, graph},
};

pub(super) fn run(global: &GlobalArgs, args: GraphArgs) -> Result<ExitCode, AppError> {
    let pipeline = load(&args.pipeline)?;
    let steps = super::run::infos(&pipeline);
    let text = match args.output {
        GraphFormat::Text => graph::graph_text(&steps, &style(global, false)),
        GraphFormat::Dot => graph::dot(&steps),
        GraphFormat::Mermaid => graph::mermaid(&steps),
    };
    report::print(&text)?;
    Ok(ExitCode::Success)
}

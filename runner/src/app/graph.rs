//! `meshrun graph`: the steps and what they need.

use super::{AppError, setup::load};
use crate::{
    cli::{GlobalArgs, GraphArgs, GraphFormat},
    exit_code::ExitCode,
    report::{self, Options, Surroundings, graph},
};

pub(super) fn run(global: &GlobalArgs, args: GraphArgs) -> Result<ExitCode, AppError> {
    let pipeline = load(&args.pipeline)?;
    let steps = super::run::infos(&pipeline);
    let options = Options { color: global.color, surroundings: Surroundings::detect(), ..Options::default() };
    let text = match args.output {
        GraphFormat::Text => graph::graph_text(&steps, &options.style()),
        GraphFormat::Dot => graph::dot(&steps),
        GraphFormat::Mermaid => graph::mermaid(&steps),
    };
    report::print(&text)?;
    Ok(ExitCode::Success)
}

//! Tests of loading and evaluating pipelines, text in and text out.

mod docs;
mod errors;
mod evaluate;
mod load;
mod schema;
mod validate;

use super::{Overrides, Pipeline, load_str};

/// Loads a pipeline that must be fine.
fn pipeline(text: &str) -> Pipeline {
    with(text, &Overrides::default())
}

fn with(text: &str, overrides: &Overrides) -> Pipeline {
    load_str("pipelines/prod.yaml", text, overrides).unwrap_or_else(|error| panic!("{}", error.render()))
}

/// What is said about a pipeline that must be refused.
fn refusal(text: &str, overrides: &Overrides) -> String {
    match load_str("pipelines/prod.yaml", text, overrides) {
        Ok(pipeline) => panic!("accepted: {pipeline:#?}"),
        Err(error) => error.render(),
    }
}

fn vars(vars: &[&str]) -> Overrides {
    Overrides { vars: vars.iter().map(ToString::to_string).collect(), ..Overrides::default() }
}

fn sets(sets: &[&str]) -> Overrides {
    Overrides { sets: sets.iter().map(ToString::to_string).collect(), ..Overrides::default() }
}

fn matrix(matrix: &[&str]) -> Overrides {
    Overrides { matrix: matrix.iter().map(ToString::to_string).collect(), ..Overrides::default() }
}

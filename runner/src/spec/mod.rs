//! From YAML to a [`Pipeline`]: parsing with places, includes and overrides, checks, expressions, JSON Schema.
//!
//! A file and [`Overrides`] go in; a [`Pipeline`] comes out, or a [`SpecError`] with everything that is wrong, each
//! with file, line, column and a hint. Nothing here looks at a cluster or a plugin library.
//!
//! ```text
//! yaml -> node -> overlay (include, --set) -> load/steps (decode) -> check -> Pipeline
//!                                   template -> compile -> expr (CEL) <- scope (evaluate, condition)
//! ```

mod capabilities;
mod check;
mod compile;
mod decode;
mod document;
mod expr;
mod finding;
mod graph;
mod load;
mod matrix;
mod node;
mod object_expr;
mod outline;
mod outputs;
mod overlay;
mod path;
mod pipeline;
mod schema;
mod scope;
mod source;
mod steps;
mod suggest;
mod template;
#[cfg(test)]
mod tests;
mod with;
mod yaml;

pub use capabilities::validate_capabilities;
pub use finding::{Finding, SpecError, settle};
pub use load::{Overrides, combinations, load, load_str};
pub use object_expr::expression_holds;
pub use outline::outline;
pub use outputs::validate_outputs;
pub use pipeline::{Isolation, Pipeline, PluginFile, Retry, State, Step, Target};
pub use schema::{PluginSchema, schema};
pub use scope::{Evaluated, Outcome, Scope, StepResult, condition, evaluate};
pub use source::Place;
pub use suggest::closest;
pub use with::validate_with;

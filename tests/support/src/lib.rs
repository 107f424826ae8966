//! What the black-box tests share: the built binary, commands with their whole output, the lab, independent witnesses.
//!
//! Tests without a cluster need [`Meshrun`] and [`fixtures`] alone. Lab tests (`tests/lab_*.rs`) take a lab.

mod binary;
pub mod fixtures;
mod process;

pub use binary::binary;
pub use process::{Finished, Meshrun, Running};

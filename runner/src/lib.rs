//! meshrun as a library: `main.rs` parses, calls [`app`] and turns the answer into an exit code.
//!
//! The data path is spec -> plugin -> plan -> exec -> report; ARCHITECTURE.md says who may use whom.

pub mod cluster;
pub mod event;
pub mod exit_code;
pub mod helm;
pub mod ids;
pub mod plan;
pub mod spec;

//! meshrun as a library: `main.rs` parses, calls [`app`] and turns the answer into an exit code.
//!
//! The data path is spec -> plugin -> plan -> exec -> report; ARCHITECTURE.md says who may use whom.

pub mod app;
pub mod cache;
pub mod cli;
pub mod cluster;
pub mod event;
pub mod exec;
pub mod exit_code;
pub mod helm;
pub mod ids;
pub mod lock;
pub mod plan;
pub mod plugin;
pub mod report;
pub mod spec;
pub mod state;
pub mod text;

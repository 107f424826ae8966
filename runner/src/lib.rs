//! meshrun as a library.

pub mod plugin;

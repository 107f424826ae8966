//! Plugins that behave as no plugin should: what meshrun says about them, and that it lives to say it.

mod files;
mod hostile;
mod loader;
mod support;

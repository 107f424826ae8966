//! Plugins that behave as no plugin should: what meshrun says about them, and that it lives to say it.

#![expect(unreachable_pub, reason = "the modules of one test binary share with `pub`")]

mod files;
mod hostile;
mod loader;
mod support;

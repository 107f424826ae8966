//! YAML as helm reads it (1.1 booleans and octal numbers), to JSON.

use serde_json::Value;
use serde_saphyr::{Options, options::DuplicateKeyPolicy};

/// Parses one document; an empty one is null.
///
/// # Errors
/// What is wrong, with line and column. A key twice in a mapping is wrong.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    parse_with(text, options())
}

/// Parses one document as helm does: of a key that is there twice, the last one counts.
///
/// # Errors
/// What is wrong, with line and column.
pub(crate) fn parse_lenient(text: &str) -> Result<Value, String> {
    let mut options = options();
    options.duplicate_keys = DuplicateKeyPolicy::LastWins;
    parse_with(text, options)
}

fn parse_with(text: &str, options: Options) -> Result<Value, String> {
    if text.lines().all(|line| line.trim_start().starts_with('#') || line.trim().is_empty()) {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str_with_options(text, options)
        // The advice is for programmers.
        .map_err(|error| error.to_string().replace(", set DuplicateKeyPolicy in Options if acceptable", ""))
}

fn options() -> Options {
    serde_saphyr::options! {
        // `defaultMode: 0644` is 420 to helm, whose YAML is 1.1.
        legacy_octal_numbers: true,
        with_snippet: false,
    }
}

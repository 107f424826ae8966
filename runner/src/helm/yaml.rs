//! YAML as helm reads it (1.1 booleans and octal numbers), to JSON.

use serde_json::Value;
use serde_saphyr::Options;

/// Parses one document; an empty one is null.
///
/// # Errors
/// What is wrong, with line and column.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    if text.lines().all(|line| line.trim_start().starts_with('#') || line.trim().is_empty()) {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| error.to_string())
}

fn options() -> Options {
    serde_saphyr::options! {
        // `defaultMode: 0644` is 420 to helm, whose YAML is 1.1.
        legacy_octal_numbers: true,
        with_snippet: false,
    }
}

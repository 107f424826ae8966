//! "Did you mean": the known name that is closest to a wrong one.

/// Returns the closest of the known names, if it is close enough to be a slip.
pub fn closest<'n>(wrong: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // Names that people mix up although they are spelled differently.
    let wrong = match wrong {
        "depends_on" | "depends-on" | "dependsOn" => "needs",
        "plugin" | "type" => "uses",
        "config" | "values" | "args" | "params" => "with",
        "when" | "condition" => "if",
        other => other,
    };
    let bound = (wrong.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&plain(wrong), &plain(name)), name))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Returns the hint: the closest name, or else the whole list where it is short.
pub(super) fn did_you_mean<'n>(
    wrong: &str,
    known: impl IntoIterator<Item = &'n str> + Clone,
) -> Option<String> {
    if let Some(name) = closest(wrong, known.clone()) {
        return Some(format!("did you mean `{name}`?"));
    }
    let mut names: Vec<_> = known.into_iter().collect();
    names.dedup();
    let list = names.join(", ");
    match names.len() {
        0 => None,
        1 => Some(format!("there is only `{list}`")),
        _ if list.len() <= 80 => Some(format!("known are {list}")),
        _ => None,
    }
}

/// `max_backoff`, `maxBackoff` and `max-backoff` are the same slip.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

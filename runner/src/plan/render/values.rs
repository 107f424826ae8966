//! Values of fields before and after, as short text: one line each, or the changed lines of a long text.

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::plan::model::FieldChange;

/// What stands for a value that is not there.
const NONE: &str = "(none)";

/// How a field changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// The two values, each in one line.
    Values {
        /// The value now.
        before: String,
        /// The value then.
        after: String,
    },
    /// Changed lines of a text and one line around them; `+`, `-` or a blank in front.
    Lines(Vec<(char, String)>),
}

/// Shows a change of a field.
pub(super) fn show(change: &FieldChange) -> Shown {
    match (&change.before, &change.after) {
        (Some(Value::String(before)), Some(Value::String(after)))
            if before.contains('\n') || after.contains('\n') =>
        {
            Shown::Lines(changed_lines(before, after))
        }
        (before, after) => {
            Shown::Values { before: one_line(before.as_ref()), after: one_line(after.as_ref()) }
        }
    }
}

fn one_line(value: Option<&Value>) -> String {
    value.map_or_else(|| NONE.into(), ToString::to_string)
}

fn changed_lines(before: &str, after: &str) -> Vec<(char, String)> {
    let diff = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for (index, group) in diff.grouped_ops(1).iter().enumerate() {
        if index > 0 {
            lines.push((' ', "...".into()));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            lines.push((sign, change.value().trim_end_matches(['\n', '\r']).to_owned()));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(before: Option<Value>, after: Option<Value>) -> Shown {
        show(&FieldChange { path: "x".into(), before, after })
    }

    #[test]
    fn shows_values_in_one_line() {
        let shown = change(None, Some(json!({ "a": ["1", 2] })));
        assert_eq!(shown, Shown::Values { before: "(none)".into(), after: r#"{"a":["1",2]}"#.into() });
    }

    #[test]
    fn shows_only_changed_lines_of_a_text() {
        let before = "a: 1\nb: 2\nc: 3\nd: 4\ne: 5\n";
        let shown = change(Some(json!(before)), Some(json!(before.replace("b: 2", "b: 0"))));
        let lines = [(' ', "a: 1"), ('-', "b: 2"), ('+', "b: 0"), (' ', "c: 3")];
        assert_eq!(shown, Shown::Lines(lines.map(|(sign, line)| (sign, line.to_owned())).to_vec()));
    }
}

//! The path of `--set`: `steps.kiali.with.labels.app\.kubernetes\.io/name`, `hosts[0]`, as helm writes it.

/// One step of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// The value of a key.
    Key(String),
    /// An item of a list, counted from 0.
    Index(usize),
}

/// Why an assignment cannot be read: a fragment, and the byte it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathError {
    pub(super) at: usize,
    pub(super) message: &'static str,
}

/// Splits `path=value` into the segments of its path and the byte where the value starts.
///
/// # Errors
/// Where there is no `=`, an empty key, or an index that is no number.
pub(super) fn assignment(text: &str) -> Result<(Vec<Segment>, usize), PathError> {
    let mut segments = Vec::new();
    let mut key = String::new();
    // Directly after an index, only `.`, `[` or `=` can follow.
    let mut after_index = false;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, escaped)) => key.push(escaped),
                None => return Err(PathError { at, message: "nothing follows the backslash" }),
            },
            '.' | '[' | '=' => {
                if !key.is_empty() {
                    segments.push(Segment::Key(std::mem::take(&mut key)));
                } else if !after_index {
                    return Err(PathError { at, message: "a name is missing" });
                }
                after_index = false;
                if c == '=' {
                    return Ok((segments, at + 1));
                }
                if c == '[' {
                    let digits: String = chars.by_ref().map(|(_, c)| c).take_while(|c| *c != ']').collect();
                    let index =
                        digits.parse().map_err(|_| PathError { at, message: "an index must be a number" })?;
                    segments.push(Segment::Index(index));
                    after_index = true;
                }
            }
            _ if after_index => return Err(PathError { at, message: "`.` is missing after the index" }),
            c => key.push(c),
        }
    }
    Err(PathError { at: text.len(), message: "`=` is missing" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn render(segments: &[Segment]) -> String {
        let mut text = String::new();
        for segment in segments {
            match segment {
                Segment::Key(key) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    for c in key.chars() {
                        if matches!(c, '.' | '[' | '=' | '\\') {
                            text.push('\\');
                        }
                        text.push(c);
                    }
                }
                Segment::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }

    fn segment() -> impl Strategy<Value = Segment> {
        prop_oneof!["[a-z.=\\[\\]\\\\/é-]{1,8}".prop_map(Segment::Key), (0usize..20).prop_map(Segment::Index)]
    }

    proptest! {
        #[test]
        fn reads_what_it_would_write(
            first in "[a-z.=]{1,6}", rest in prop::collection::vec(segment(), 0..6), value in ".*"
        ) {
            let mut segments = vec![Segment::Key(first)];
            segments.extend(rest);
            let path = render(&segments);
            let text = format!("{path}={value}");
            prop_assert_eq!(assignment(&text), Ok((segments, path.len() + 1)));
        }

        #[test]
        fn never_panics(text in ".*") {
            let _ = assignment(&text);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let message = |text| assignment(text).map_err(|error| (error.at, error.message));
        assert_eq!(message("steps.kiali"), Err((11, "`=` is missing")));
        assert_eq!(message("steps..kiali=1"), Err((6, "a name is missing")));
        assert_eq!(message("=1"), Err((0, "a name is missing")));
        assert_eq!(message("a[x]=1"), Err((1, "an index must be a number")));
        assert_eq!(message("a[0]b=1"), Err((4, "`.` is missing after the index")));
        assert_eq!(message("a\\"), Err((1, "nothing follows the backslash")));
    }
}

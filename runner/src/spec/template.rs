//! Texts with `${{ expressions }}` in them, cut into their parts.

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part<'t> {
    /// Stands for itself.
    Text(&'t str),
    /// The inside of `${{ }}` as it was written, blanks included.
    Expression(&'t str),
}

const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// Whether there is an expression in a text.
pub(super) fn has_expression(text: &str) -> bool {
    text.contains(OPEN)
}

/// Cuts a text into its parts.
///
/// # Errors
/// The rest of the text from a `${{` on that is never closed.
pub(super) fn split(text: &str) -> Result<Vec<Part<'_>>, &str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(OPEN) {
        let inside = &rest[open + OPEN.len()..];
        let end = close(inside).ok_or(&rest[open..])?;
        if open > 0 {
            parts.push(Part::Text(&rest[..open]));
        }
        parts.push(Part::Expression(&inside[..end]));
        rest = &inside[end + CLOSE.len()..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

/// Where the closing `}}` is: not one inside of quotes, nor one that closes CEL maps.
fn close(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' | '"' => loop {
                match chars.next()?.1 {
                    '\\' => {
                        chars.next();
                    }
                    end if end == c => break,
                    _ => {}
                }
            },
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' if text[at..].starts_with(CLOSE) => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, parts: Result<&[Part<'_>], &str>) {
        assert_eq!(split(text).as_deref(), parts.as_ref().copied());
    }

    #[test]
    fn cuts_texts_into_parts() {
        use Part::{Expression, Text};
        check("plain", Ok(&[Text("plain")]));
        check("${{ a }}", Ok(&[Expression(" a ")]));
        check("v${{a}}.${{b}}!", Ok(&[Text("v"), Expression("a"), Text("."), Expression("b"), Text("!")]));
        check("${{ '}}' }}x", Ok(&[Expression(" '}}' "), Text("x")]));
        check(r#"${{ "\"}}" }}"#, Ok(&[Expression(r#" "\"}}" "#)]));
        check("${{ {'a': {'b': 1}} }}", Ok(&[Expression(" {'a': {'b': 1}} ")]));
    }

    #[test]
    fn finds_what_is_never_closed() {
        check("a ${{ b }", Err("${{ b }"));
        check("${{ a }} ${{ 'b }}", Err("${{ 'b }}"));
    }
}

//! GitHub Actions: workflow commands that put findings beside lines of the pipeline file and fold long lists.

/// How bad an annotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Error,
    Warning,
}

/// A finding for the summary page and, where its place is known, for the changed file.
pub(super) fn annotation(
    level: Level,
    place: Option<&str>,
    title: &str,
    message: &str,
    hint: Option<&str>,
) -> String {
    let level = match level {
        Level::Error => "error",
        Level::Warning => "warning",
    };
    let place = place.and_then(file_line_column).map_or(String::new(), |(file, line, column)| {
        format!("file={},line={line},col={column},", property(file))
    });
    let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    format!("::{level} {place}title={}::{}", property(title), data(&format!("{message}{hint}")))
}

/// Lines that are folded below a title.
pub(super) fn group(title: &str, lines: &[String]) -> String {
    format!("::group::{}\n{}\n::endgroup::", data(title), lines.join("\n"))
}

fn file_line_column(place: &str) -> Option<(&str, u32, u32)> {
    let (rest, column) = place.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some((file, line.parse().ok()?, column.parse().ok()?))
}

/// Escapes the text of a command as the runner of GitHub Actions reads it back.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotates_a_line_of_the_file() {
        assert_eq!(
            annotation(Level::Warning, Some("a,b/prod.yaml:24:9"), "istiod: x", "100% sure", Some("look")),
            "::warning file=a%2Cb/prod.yaml,line=24,col=9,title=istiod%3A x::100%25 sure%0Ahint: look"
        );
    }

    #[test]
    fn leaves_an_unknown_place_out() {
        assert_eq!(annotation(Level::Error, Some("prod.yaml"), "t", "m", None), "::error title=t::m");
    }
}

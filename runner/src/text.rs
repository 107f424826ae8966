//! Text for people: colours, marks, durations, counts and line breaking. A leaf that plans and reports share.

use std::{borrow::Cow, fmt::Display, time::Duration};

use meshrun_protocol::{Diagnostic, Severity};

/// How text for people looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Paint with ANSI colours.
    pub color: bool,
    /// Use characters beyond ASCII for marks.
    pub unicode: bool,
    /// Columns that a line may fill; `usize::MAX` where lines are never broken.
    pub width: usize,
    /// Also tell what is as it should be.
    pub verbose: bool,
}

/// What a colour stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Right, or added.
    Good,
    /// To be looked at, or changed.
    Warn,
    /// Wrong, or removed.
    Bad,
    /// Of less interest than the rest.
    Dim,
    /// The name of something.
    Name,
}

/// The sign at the start of a line that says how something went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It is as it should be.
    Good,
    /// It works, and something should be looked at.
    Warn,
    /// It failed.
    Bad,
    /// It was left out.
    Skip,
    /// It is tried again.
    Again,
}

/// Stands for a space at which a line is not broken.
const NO_BREAK: char = '\u{a0}';

/// A text narrower than this is not broken further: a column of single words cannot be read.
const NARROWEST: usize = 24;

impl Style {
    /// Neither colours nor line breaks: for files and logs.
    pub fn plain(verbose: bool) -> Self {
        Self { color: false, unicode: true, width: usize::MAX, verbose }
    }

    /// Paints a text.
    pub fn paint(&self, tone: Tone, text: impl Display) -> String {
        let style = match tone {
            Tone::Good => console::Style::new().green(),
            Tone::Warn => console::Style::new().yellow(),
            Tone::Bad => console::Style::new().red(),
            Tone::Dim => console::Style::new().dim(),
            Tone::Name => console::Style::new().bold(),
        };
        style.force_styling(self.color).apply_to(text).to_string()
    }

    /// A mark, painted. All marks of a style are equally wide.
    pub fn mark(&self, mark: Mark) -> String {
        let (tone, sign, word) = match mark {
            Mark::Good => (Tone::Good, "✓", "ok  "),
            Mark::Warn => (Tone::Warn, "!", "warn"),
            Mark::Bad => (Tone::Bad, "✗", "FAIL"),
            Mark::Skip => (Tone::Dim, "-", "skip"),
            Mark::Again => (Tone::Warn, "↻", "redo"),
        };
        self.paint(tone, if self.unicode { sign } else { word })
    }

    /// Puts a text behind a head, breaks it between words, and indents further lines to where the text began.
    /// A word that is too wide for that stays whole, so that a URL or an image name can be copied; it moves to the
    /// left. Words joined by a no-break space stay together.
    pub fn hang(&self, head: &str, text: &str) -> String {
        let indent = console::measure_text_width(head);
        let room = self.width.saturating_sub(indent).max(NARROWEST);
        let mut out = head.to_owned();
        let mut column = 0;
        for (index, line) in clean(text).lines().enumerate() {
            if index > 0 {
                break_line(&mut out, indent);
                column = 0;
            }
            for word in line.split(' ') {
                let width = console::measure_text_width(word);
                if column > 0 && column + 1 + width > room {
                    break_line(&mut out, indent.min(self.width.saturating_sub(width)));
                    column = 0;
                }
                if column > 0 {
                    out.push(' ');
                    column += 1;
                }
                out.push_str(&word.replace(NO_BREAK, " "));
                column += width;
            }
        }
        out
    }

    /// A finding about a step's configuration (or the pipeline's): what, where, what to do.
    pub fn diagnostic(&self, step: Option<&str>, diagnostic: &Diagnostic, place: Option<&str>) -> String {
        let (tone, word) = match diagnostic.severity {
            Severity::Error => (Tone::Bad, "error"),
            Severity::Warning => (Tone::Warn, "warning"),
            Severity::Hint => (Tone::Dim, "note"),
        };
        let of_step = step.map(|id| format!("{id}: ")).unwrap_or_default();
        let code = diagnostic.code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
        let head = format!("{}: ", self.paint(tone, word));
        let mut text = self.hang(&head, &format!("{of_step}{}{code}", diagnostic.message));
        match place {
            Some(place) => text.push_str(&format!("\n  at {place}")),
            None if !diagnostic.path.is_empty() => {
                text.push_str(&format!("\n  at {}", field(&diagnostic.path)))
            }
            None => {}
        }
        text.push_str(&self.hint(2, diagnostic.hint.as_deref()));
        text
    }

    /// A line that says what to do, to be put behind a text; empty where there is nothing to say.
    pub fn hint(&self, indent: usize, hint: Option<&str>) -> String {
        let Some(hint) = hint else { return String::new() };
        let head = format!("{:indent$}{} ", "", self.paint(Tone::Name, "hint:"));
        format!("\n{}", self.hang(&head, hint))
    }

    /// Makes a text fit into one line of so many columns.
    pub fn cut(&self, text: &str, columns: usize) -> String {
        let line = clean(text).replace('\n', " ");
        let tail = if self.unicode { "…" } else { "..." };
        console::truncate_str(&line, columns, tail).into_owned()
    }
}

fn break_line(out: &mut String, indent: usize) {
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Takes control characters out: what a pod or a server says must not move the cursor.
pub fn clean(text: &str) -> Cow<'_, str> {
    let control = |c: char| c.is_control() && c != '\n';
    if !text.contains(control) {
        return Cow::Borrowed(text);
    }
    let text = console::strip_ansi_codes(text).replace('\t', " ");
    Cow::Owned(text.chars().filter(|c| !control(*c)).collect())
}

/// A JSON pointer into a step's configuration as people write it: `with.values.pilot.env`.
pub fn field(pointer: &str) -> String {
    let mut text = String::from("with");
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if segment.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
            text.push_str(&format!(".{segment}"));
        } else {
            text.push_str(&format!("[\"{segment}\"]"));
        }
    }
    text
}

/// A duration as people say it: `0.4s`, `4m 2s`, `1h 3m`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{}.{}s", seconds, time.subsec_millis() / 100),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `1 step`, `2 steps`.
pub fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// `24 created, release istiod revision 1`: phrases as one text that is broken between them only; empty ones are
/// left out.
pub fn phrases(parts: impl IntoIterator<Item = String>) -> String {
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.map(|part| part.replace(' ', "\u{a0}")).collect::<Vec<_>>().join(", ")
}

/// `49 created, 3 updated`: the counts that are not zero; empty where all are.
pub fn tally(counts: &[(usize, &str)]) -> String {
    let parts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(width: usize) -> Style {
        Style { color: false, unicode: true, width, verbose: false }
    }

    #[test]
    fn breaks_between_words_and_indents_what_follows() {
        assert_eq!(
            style(40).hang("  hint: ", "look at the pods behind the webhook's service"),
            "  hint: look at the pods behind the\n        webhook's service"
        );
    }

    #[test]
    fn keeps_a_long_word_whole() {
        let image = "registry.example/istio/pilot@sha256:0123456789abcdef";
        let width = image.len() + 1;
        assert_eq!(
            style(width).hang("   ", &format!("pull {image} failed")),
            format!("   pull\n {image}\n   failed")
        );
    }

    #[test]
    fn keeps_phrases_together() {
        let text = phrases(["release istiod revision 1".into(), String::new(), "1 warning".into()]);
        assert_eq!(style(34).hang("", &text), "release istiod revision 1,\n1 warning");
    }

    #[test]
    fn keeps_line_breaks_and_drops_control_characters() {
        assert_eq!(style(80).hang("> ", "one\n\u{1b}[31mtwo\u{1b}[0m\u{7}"), "> one\n  two");
    }

    #[test]
    fn cuts_with_a_sign() {
        assert_eq!(style(80).cut("ImagePullBackOff: Back-off pulling", 17), "ImagePullBackOff…");
        let ascii = Style { unicode: false, ..style(80) };
        assert_eq!(ascii.cut("ImagePullBackOff: Back-off pulling", 19), "ImagePullBackOff...");
    }

    #[test]
    fn says_durations_as_people_do() {
        let say = |millis| duration(Duration::from_millis(millis));
        assert_eq!(
            [say(0), say(49), say(2_190), say(59_999), say(242_000), say(3_780_000)],
            ["0.0s", "0.0s", "2.1s", "59.9s", "4m 2s", "1h 3m"]
        );
    }

    #[test]
    fn writes_pointers_as_people_do() {
        assert_eq!(field("/values/podAnnotations/a.b~1c"), "with.values.podAnnotations[\"a.b/c\"]");
        assert_eq!(field(""), "with");
    }

    #[test]
    fn paints_only_where_colour_is_wanted() {
        assert_eq!(style(80).mark(Mark::Good), "✓");
        assert_eq!(Style { color: true, ..style(80) }.mark(Mark::Bad), "\u{1b}[31m✗\u{1b}[0m");
    }
}

//! `.helmignore`: which files of a chart directory are not part of the chart.

/// The rules of a `.helmignore` file; the last one that matches counts.
#[derive(Debug, Default)]
pub(crate) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    pattern: String,
    /// `!pattern`: keep what an earlier rule ignores.
    keep: bool,
    /// `pattern/`: directories only.
    dirs: bool,
    /// A pattern with a slash is matched against the whole path, one without against the last part of it.
    whole: bool,
}

impl Ignore {
    /// Reads the rules.
    pub(crate) fn new(text: &str) -> Self {
        let rules = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let (keep, line) = match line.strip_prefix('!') {
                    Some(rest) => (true, rest),
                    None => (false, line),
                };
                let (dirs, line) = match line.strip_suffix('/') {
                    Some(rest) => (true, rest),
                    None => (false, line),
                };
                let whole = line.contains('/');
                Rule { pattern: line.trim_start_matches('/').into(), keep, dirs, whole }
            })
            .collect();
        Self { rules }
    }

    /// Whether a path inside the chart is ignored.
    pub(crate) fn matches(&self, path: &str, is_dir: bool) -> bool {
        let last = path.rsplit('/').next().unwrap_or(path);
        self.rules
            .iter()
            .rev()
            .filter(|rule| is_dir || !rule.dirs)
            .find(|rule| glob(rule.pattern.as_bytes(), if rule.whole { path } else { last }.as_bytes()))
            .is_some_and(|rule| !rule.keep)
    }
}

/// Shell pattern match with `*` and `?`, neither of which crosses a slash.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            glob(rest, text)
                || text.split_first().is_some_and(|(&first, text)| first != b'/' && glob(pattern, text))
        }
        (Some((b'?', rest)), Some((&first, text))) => first != b'/' && glob(rest, text),
        (Some((expected, rest)), Some((first, text))) => expected == first && glob(rest, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Ignore;

    #[test]
    fn ignores_as_helm_does() {
        let ignore = Ignore::new("# comment\n.git/\n*.bak\n/docs/*.md\n!keep.bak\n");
        let check = |path, is_dir| ignore.matches(path, is_dir);
        assert!(check(".git", true));
        assert!(!check(".git", false));
        assert!(check("templates/a.bak", false));
        assert!(!check("templates/keep.bak", false));
        assert!(check("docs/a.md", false));
        assert!(!check("docs/sub/a.md", false));
        assert!(!check("Chart.yaml", false));
    }
}

//! What standard output is: a terminal or not, how wide, what it can show; read once from the environment.

use std::{env, io::IsTerminal};

/// What standard output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surroundings {
    /// It is a terminal.
    pub tty: bool,
    /// Its columns; 80 where it is none.
    pub width: usize,
    /// It shows characters beyond ASCII.
    pub unicode: bool,
    /// It cannot move its cursor (`TERM=dumb`), so nothing can be redrawn.
    pub dumb: bool,
    /// `NO_COLOR` is set.
    pub no_color: bool,
    /// It is the log of a GitHub Actions job.
    pub github: bool,
}

impl Surroundings {
    /// Looks at the process's standard output and environment.
    pub fn detect() -> Self {
        Self::read(std::io::stdout().is_terminal(), console::Term::stdout().size_checked(), |name| {
            env::var(name).ok().filter(|value| !value.is_empty())
        })
    }

    /// Looks at the process's standard error and environment.
    pub fn detect_error() -> Self {
        Self::read(std::io::stderr().is_terminal(), console::Term::stderr().size_checked(), |name| {
            env::var(name).ok().filter(|value| !value.is_empty())
        })
    }

    fn read(tty: bool, size: Option<(u16, u16)>, var: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            tty,
            width: size.map_or(80, |(_, columns)| usize::from(columns)),
            unicode: locale_is_utf8(&var),
            dumb: var("TERM").is_some_and(|term| term == "dumb"),
            no_color: var("NO_COLOR").is_some(),
            github: var("GITHUB_ACTIONS").is_some_and(|value| value == "true"),
        }
    }
}

/// A log file: no terminal, no CI.
impl Default for Surroundings {
    fn default() -> Self {
        Self { tty: false, width: 80, unicode: true, dumb: false, no_color: false, github: false }
    }
}

/// Rows and columns of the terminal now; it may be resized during a run.
pub(super) fn size() -> Option<(usize, usize)> {
    let (rows, columns) = console::Term::stdout().size_checked()?;
    Some((usize::from(rows), usize::from(columns)))
}

/// Where no locale is set at all (a container), the terminal in front of it is still a modern one.
fn locale_is_utf8(var: impl Fn(&str) -> Option<String>) -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(var).is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Surroundings {
        Surroundings::read(true, Some((24, 120)), |name| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn takes_the_first_locale_that_is_set() {
        assert!(read(&[]).unicode);
        assert!(read(&[("LANG", "C"), ("LC_ALL", "en_US.UTF-8")]).unicode);
        assert!(!read(&[("LANG", "C")]).unicode);
        assert!(!read(&[("LANG", "en_US.UTF-8"), ("LC_CTYPE", "de_DE.ISO-8859-1")]).unicode);
    }

    #[test]
    fn knows_ci_and_dumb_terminals() {
        let seen = read(&[("TERM", "dumb"), ("GITHUB_ACTIONS", "true"), ("NO_COLOR", "1")]);
        assert!(seen.dumb && seen.github && seen.no_color);
        assert_eq!(seen.width, 120);
    }
}

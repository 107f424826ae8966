//! A place in an object, as Kubernetes writes it: `spec.containers[0].image`.

use std::fmt;

/// A place in an object; grows step by step on the way down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path(String);

impl Path {
    /// The place of a field of this object.
    pub(super) fn field(&self, name: &str) -> Self {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '$');
        match (plain, self.0.is_empty()) {
            (true, true) => Self(name.into()),
            (true, false) => Self(format!("{}.{name}", self.0)),
            (false, _) => Self(format!("{}[\"{name}\"]", self.0)),
        }
    }

    /// The place of an item of this list.
    pub(super) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

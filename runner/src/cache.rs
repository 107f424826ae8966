//! Where meshrun keeps what it can make again: pulled charts, renderings, descriptions of plugins.

use std::path::PathBuf;

/// `$MESHRUN_CACHE`, else `$XDG_CACHE_HOME/meshrun`, else `~/.cache/meshrun`, else a directory for temporary files.
pub fn directory() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("MESHRUN_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("meshrun")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/meshrun")))
        .unwrap_or_else(|| std::env::temp_dir().join("meshrun"))
}

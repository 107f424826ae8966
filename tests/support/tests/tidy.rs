//! What a compiler does not see: who may use whom, how long files get, what must not stand in them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use meshrun_tests::fixtures;

/// Modules of the runner, and the modules each of them may use. Arrows point backwards in the data path only.
const MODULES: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("exit_code", &[]),
    ("text", &[]),
    ("cache", &[]),
    ("lock", &[]),
    ("event", &["ids"]),
    ("spec", &["ids"]),
    ("plugin", &["ids", "cache"]),
    ("cluster", &["ids"]),
    ("helm", &["ids", "exit_code", "lock", "cluster"]),
    ("state", &["ids", "cluster"]),
    // state: what a run made is what `destroy` plans to remove.
    ("plan", &["ids", "exit_code", "text", "spec", "plugin", "helm", "cluster", "state"]),
    // spec and plugin: conditions of steps, and the time limits of questions to plugins.
    ("exec", &["ids", "event", "spec", "plugin", "plan", "helm", "state", "cluster"]),
    ("report", &["ids", "event", "text"]),
    ("cli", &["exit_code", "report"]),
];

/// The modules that may use everything: the story, and the parts of the executable.
const TOP: &[&str] = &["app", "main", "lib"];

/// Crates that stand behind one module of the runner, and the files outside of it that may use them nevertheless.
const WALLS: &[(&str, &[&str])] = &[
    ("kube", &["cluster/"]),
    ("k8s_openapi", &["cluster/"]),
    ("rustls", &["cluster/"]),
    ("hyper", &["cluster/"]),
    ("abi_stable", &["plugin/"]),
    ("libloading", &["plugin/"]),
    ("meshrun_abi", &["plugin/"]),
    ("goblin", &["plugin/"]),
    // helm/yaml.rs: charts render YAML of their own, which has neither places nor expressions.
    ("serde_saphyr", &["spec/", "helm/yaml.rs"]),
    ("cel", &["spec/expr.rs"]),
    ("clap", &["cli/", "app/", "report/mod.rs"]),
    ("clap_complete", &["cli/", "app/"]),
    ("quick_xml", &["report/"]),
    ("console", &["report/", "text.rs"]),
    ("similar", &["plan/"]),
    ("tracing_subscriber", &["app/"]),
];

/// Files get no longer than this.
const LONGEST: usize = 400;

/// Files that are longer, and why.
const LONGER: &[(&str, &str)] = &[];

/// The text of a file of the repository.
fn text(file: &str) -> String {
    fs_err::read_to_string(fixtures::root().join(file)).expect("a file of the repository")
}

/// The files that git knows or would add, by their paths in the repository.
fn files(ending: &str) -> Vec<String> {
    let git = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(fixtures::root())
        .output()
        .expect("git");
    let list = String::from_utf8(git.stdout).expect("UTF-8");
    let exists = |file: &&str| fixtures::root().join(file).is_file();
    list.lines().filter(|file| file.ends_with(ending)).filter(exists).map(str::to_owned).collect()
}

/// The sources of the runner without their tests: path below `runner/src`, code without comments.
fn sources() -> Vec<(String, String)> {
    let is_test =
        |file: &str| file.contains("/tests/") || file.ends_with("/tests.rs") || file.ends_with("/samples.rs");
    let code = |text: String| {
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n")
    };
    let below = |file: &String| file.strip_prefix("runner/src/").map(str::to_owned);
    let files = files(".rs").into_iter().filter(|file| !is_test(file));
    files.filter_map(|file| Some((below(&file)?, code(text(&file))))).collect()
}

/// The module that a file belongs to.
fn module(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or_default()
}

/// The modules that code names behind `crate::`, alone or in braces.
fn uses(code: &str) -> BTreeSet<&str> {
    let mut modules = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            Some(group) => modules.extend(entries(group).into_iter().map(word)),
            None => drop(modules.insert(word(rest))),
        }
    }
    modules
}

/// The entries of a group up to its closing brace.
fn entries(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut entries) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                entries.push(group[start..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                entries.push(group[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    entries.retain(|entry| !entry.is_empty());
    entries
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// Whether code names a crate.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '.')
    }) || code.contains(&format!("use {name};"))
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn modules_use_only_what_comes_before_them() {
    assert_eq!(
        uses("use crate::{\n a::{B, c::D},\n e,\n};\nlet x = crate::f::g(); mycrate::h(); $crate::i"),
        ["a", "e", "f", "i"].into()
    );
    let mut found = Vec::new();
    for (file, code) in sources() {
        let module = module(&file);
        if TOP.contains(&module) {
            continue;
        }
        let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == module) else {
            found.push(format!("{file}: module `{module}` is not in the table"));
            continue;
        };
        for used in uses(&code).into_iter().filter(|used| *used != module && !allowed.contains(used)) {
            found.push(format!("{file} uses `{used}`, which `{module}` may not"));
        }
    }
    none("arrows that point forwards (see ARCHITECTURE.md)", &found);
}

#[test]
fn the_table_of_modules_has_no_cycle() {
    for (index, (module, allowed)) in MODULES.iter().enumerate() {
        for used in *allowed {
            let before = MODULES[..index].iter().any(|(name, _)| name == used);
            assert!(before, "`{module}` may use `{used}`, which does not come before it");
        }
    }
}

#[test]
fn crates_stay_behind_their_module() {
    let sources = sources();
    for (name, _) in WALLS {
        assert!(
            sources.iter().any(|(_, code)| names_crate(code, name)),
            "nobody uses `{name}`: take it off the list"
        );
    }
    let mut found = Vec::new();
    for (file, code) in sources {
        for (name, places) in WALLS {
            let allowed = places.iter().any(|place| file.starts_with(place));
            if !allowed && names_crate(&code, name) {
                found.push(format!("{file} uses `{name}`, which belongs to {}", places.join(", ")));
            }
        }
    }
    none("crates outside of their module", &found);
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let silent = files(".rs").into_iter().filter(|file| !text(file).starts_with("//! "));
    none("files that do not begin with `//! `", &silent.collect::<Vec<_>>());
}

#[test]
fn files_stay_short() {
    let mut found = Vec::new();
    for file in files(".rs") {
        let lines = text(&file).lines().count();
        match LONGER.iter().find(|(name, _)| *name == file) {
            None if lines > LONGEST => found.push(format!("{file}: {lines} lines")),
            Some(_) if lines <= LONGEST => found.push(format!("{file} is short again: take it off the list")),
            _ => {}
        }
    }
    let gone = LONGER.iter().filter(|(name, _)| !fixtures::root().join(name).is_file());
    found.extend(gone.map(|(name, _)| format!("{name} is gone: take it off the list")));
    none("files of more than 400 lines (split them, or put them on the list with a reason)", &found);
}

#[test]
fn lints_are_expected_and_not_allowed() {
    let attribute = concat!("[", "allow(");
    let allowed = files(".rs").into_iter().filter(|file| text(file).contains(attribute));
    none("files with `allow` in place of `expect`", &allowed.collect::<Vec<_>>());
}

/// The dependencies that a manifest names, in every one of its tables.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut in_table = false;
    let mut names = Vec::new();
    for line in text(manifest).lines() {
        if line.starts_with('[') {
            in_table = line.trim_end_matches(']').ends_with("dependencies");
        } else if in_table && line.starts_with(|c: char| c.is_alphanumeric()) {
            let end = line.find([' ', '.', '=']).unwrap_or(line.len());
            names.push(line[..end].to_owned());
        }
    }
    names
}

#[test]
fn plugins_and_sdk_know_neither_the_runner_nor_its_crates() {
    let mut found = Vec::new();
    let manifests = files("Cargo.toml");
    for manifest in manifests.iter().filter(|file| file.starts_with("plugins/") || file.starts_with("sdk/")) {
        for name in dependencies(manifest) {
            let outside = ["meshrun", "kube", "k8s-openapi", "tokio"].contains(&name.as_str());
            let abi =
                manifest.starts_with("plugins/") && ["meshrun-abi", "abi_stable"].contains(&name.as_str());
            if outside || abi {
                found.push(format!("{manifest}: {name}"));
            }
        }
    }
    let runner = dependencies("runner/Cargo.toml");
    assert!(runner.contains(&"kube".to_owned()), "the manifest is read: {runner:?}");
    let plugins = ["istio-base", "istiod", "gateway", "security", "telemetry", "kiali", "verify"];
    let of_plugins = |name: &String| {
        name == "meshrun-sdk" || plugins.iter().any(|plugin| *name == format!("meshrun-{plugin}"))
    };
    found.extend(runner.into_iter().filter(of_plugins).map(|name| format!("runner/Cargo.toml: {name}")));
    none("dependencies that a team's plugin could not have, or that tie the runner to plugins", &found);
}

#[test]
fn every_dependency_has_a_reason() {
    let manifest = text("Cargo.toml");
    let (_, table) = manifest.split_once("[workspace.dependencies]\n").expect("the table");
    let lines = table.lines().take_while(|line| !line.starts_with('['));
    let bare = lines.filter(|line| line.contains('=') && !line.contains(" # ") && !line.contains("path = "));
    none("dependencies without a reason behind `#`", &bare.map(str::to_owned).collect::<Vec<_>>());
}

#[test]
fn nothing_depends_on_the_machine_it_was_written_on() {
    let mut found = Vec::new();
    for file in files("") {
        let Ok(text) = fs_err::read_to_string(fixtures::root().join(&file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            let at = |directory: &str| {
                line.match_indices(&format!("/{directory}/")).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    before.is_none_or(|c| c.is_whitespace() || "\"'`(=:".contains(c))
                })
            };
            if ["work", "root", "home"].iter().any(|directory| at(directory)) {
                found.push(format!("{file}:{}: {line}", number + 1));
            }
        }
    }
    none("paths of one machine", &found);

    let index = "\"registry+https://github.com/rust-lang/crates.io-index\"";
    for lock in files("Cargo.lock") {
        let other = |line: &&str| line.starts_with("source = ") && !line.ends_with(index);
        none(&lock, &text(&lock).lines().filter(other).map(str::to_owned).collect::<Vec<_>>());
    }
}

/// Every word of the documentation that is a path into the repository leads somewhere.
#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for file in files(".md") {
        let directory = Path::new(&file).parent().map(Path::to_owned).unwrap_or_default();
        let text = text(&file);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let path: PathBuf = fixtures::root().join(&directory).join(path);
            if !path.exists() {
                broken.push(format!("{file}: {target}"));
            }
        }
    }
    none("links that lead nowhere", &broken);
}

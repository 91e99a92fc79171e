//! The structure of the sources: who may import whom, what a file begins with, which names are too vague.
//!
//! Never: judges formatting or style that a tool judges better.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules of ours each module may import. What is not listed may import everything.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("tasks", &[]),
    ("pem", &[]),
    ("listener", &["pem"]),
    ("telemetry", &["model"]),
    ("auth", &["model"]),
    ("wire", &["model"]),
    ("directory", &["model", "wire"]),
    ("store", &["model", "wire", "directory", "telemetry"]),
    ("registry", &["model", "directory", "store"]),
    ("outbound", &[]),
    ("catalog", &["model", "wire", "directory", "store", "registry", "outbound", "pem", "telemetry"]),
    ("cluster", &["model", "wire", "directory", "store", "pem", "telemetry"]),
    ("peers", &["model", "wire", "directory", "registry", "outbound", "telemetry"]),
    ("api", &["model", "wire", "auth", "directory", "registry", "telemetry", "listener"]),
];

/// Names that could hold anything.
const VAGUE: &[&str] =
    &["util", "utils", "common", "helpers", "misc", "types", "core", "service", "manager", "mod"];

/// Longest file, tests aside.
const LINES_MAX: usize = 500;

fn sources() -> BTreeMap<PathBuf, String> {
    fn walk(dir: &Path, into: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(dir).expect("src can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                into.insert(path, text);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(30 < found.len(), "the sources were found");
    found
}

/// `auth/jwt.rs` belongs to `auth`.
fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("in src");
    let first = inside.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").into()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

fn product_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| *line != "#[cfg(test)]" || !text.contains("mod tests {"))
}

#[test]
fn imports_point_down() {
    for (path, text) in sources().into_iter().filter(|(path, _)| !is_test(path)) {
        let module = module_of(&path);
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else { continue };
        for line in product_lines(&text).filter(|line| !line.trim_start().starts_with("//")) {
            for (at, _) in line.match_indices("crate::") {
                let rest = &line[at + "crate::".len()..];
                let target: String =
                    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let is_ours = target == module || allowed.contains(&target.as_str());
                assert!(is_ours || target.is_empty(), "{} imports {target}: {line}", path.display());
            }
        }
    }
}

#[test]
fn each_file_says_what_it_is_and_never_does() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} has no header", path.display());
        let is_test = is_test(&path);
        let header: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        assert!(is_test || header.contains("Never:"), "{} does not say what it never does", path.display());
    }
}

#[test]
fn files_are_short_and_names_are_exact() {
    for (path, text) in sources() {
        let lines = product_lines(&text).count();
        assert!(lines <= LINES_MAX || is_test(&path), "{} has {lines} lines", path.display());
        let stem = path.file_stem().expect("a name").to_string_lossy();
        assert!(!VAGUE.contains(&&*stem), "{} could hold anything", path.display());
    }
}

#[test]
fn tasks_are_spawned_in_few_places() {
    const MAY_SPAWN: &[&str] = &["daemon.rs", "tasks.rs", "listener.rs"];
    for (path, text) in sources() {
        let name = path.file_name().expect("a name").to_string_lossy();
        if MAY_SPAWN.contains(&&*name) || is_test(&path) {
            continue;
        }
        for line in product_lines(&text) {
            let spawns =
                line.contains("tokio::spawn(") || line.contains("thread::spawn(") || line.contains(".spawn(");
            assert!(!spawns, "{} spawns: {line}", path.display());
        }
    }
}

#[test]
fn the_environment_is_read_in_one_place() {
    for (path, text) in sources() {
        let reads = product_lines(&text).any(|line| line.contains("env::var") || line.contains("env::args"));
        assert!(
            !reads || path.ends_with("main.rs") || is_test(&path),
            "{} reads the environment",
            path.display()
        );
    }
}

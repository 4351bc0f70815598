//! The form of the code: who may know whom, and what a file looks like. The picture is in docs/architecture.md.

use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 500;

/// Rooms, and the rooms of this crate that each may name. What is not listed here may name any.
const MAY_NAME: [(&str, &[&str]); 13] = [
    ("domain", &[]),
    ("pb", &[]),
    ("body", &["domain", "pb"]),
    ("store", &["domain"]),
    ("engine", &["domain", "pb"]),
    ("watchers", &["domain"]),
    ("formats", &["domain", "pb", "body"]),
    (
        "service",
        &["domain", "body", "store", "engine", "watchers", "formats"],
    ),
    ("upkeep", &["domain", "body", "store", "service"]),
    ("client", &["pb"]),
    (
        "api",
        &["domain", "pb", "body", "store", "service", "engine", "cluster"],
    ),
    (
        "cluster",
        &["domain", "pb", "store", "service", "engine", "client"],
    ),
    ("telemetry", &["config"]),
];

/// Rooms that may name tonic; the command line does through the client's types.
const KNOW_TONIC: [&str; 6] = ["api", "server", "cluster", "client", "pb", "cli"];

/// What the domain must do without.
const NOT_IN_THE_DOMAIN: [&str; 9] = [
    "serde",
    "prost",
    "tonic",
    "tokio",
    "async fn",
    ".await",
    "SystemTime",
    "Instant::now",
    "std::fs",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `folder`, by its path in the repository.
fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

fn all_files() -> Vec<(PathBuf, String)> {
    ["src", "tests", "examples", "benches"]
        .into_iter()
        .flat_map(files)
        .chain(build_script())
        .collect()
}

fn build_script() -> Option<(PathBuf, String)> {
    fs::read_to_string(root().join("build.rs"))
        .ok()
        .map(|text| ("build.rs".into(), text))
}

/// The room that a file of src belongs to: the first part of its path.
fn room(path: &Path) -> String {
    let first = path
        .components()
        .nth(1)
        .unwrap()
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The lines of code of a file, with their numbers: without comments, and without the tests at its end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let code = lines.take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    code.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// A file that holds nothing but tests.
fn is_tests(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs")
        || path.components().any(|part| part.as_os_str() == "tests")
}

/// The rooms that a line names with `crate::`.
fn named(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let names = rest.strip_prefix('{').map_or_else(
            || vec![rest],
            |list| {
                list.split('}')
                    .next()
                    .unwrap_or_default()
                    .split(',')
                    .map(str::trim)
                    .collect()
            },
        );
        for name in names {
            let word: String = name
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            rooms.push(word);
        }
    }
    rooms
}

fn check(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn rooms_know_only_those_below_them() {
    let mut found = Vec::new();
    for (path, text) in files("src") {
        let of = room(&path);
        let Some((_, may)) = MAY_NAME.iter().find(|(room, _)| *room == of) else {
            continue;
        };
        if is_tests(&path) {
            continue;
        }
        for (at, line) in code(&text) {
            for other in named(line) {
                let known = MAY_NAME.iter().any(|(room, _)| *room == other);
                let above = ["server", "cli", "config", "shutdown", "telemetry"].contains(&other.as_str());
                if (known || above) && other != of && !may.contains(&other.as_str()) {
                    found.push(format!(
                        "{}:{at}: {of} names {other}: {}",
                        path.display(),
                        line.trim()
                    ));
                }
            }
        }
    }
    check("arrows that are not in the picture", &found);
}

#[test]
fn few_rooms_know_tonic() {
    let mut found = Vec::new();
    for (path, text) in files("src") {
        if KNOW_TONIC.contains(&room(&path).as_str()) {
            continue;
        }
        for (at, line) in code(&text).filter(|(_, line)| line.contains("tonic")) {
            found.push(format!("{}:{at}: {}", path.display(), line.trim()));
        }
    }
    check("rooms that name tonic", &found);
}

#[test]
fn the_domain_is_pure() {
    let mut found = Vec::new();
    for (path, text) in files("src")
        .into_iter()
        .filter(|(path, _)| room(path) == "domain")
    {
        for (at, line) in code(&text) {
            for word in NOT_IN_THE_DOMAIN.into_iter().filter(|word| line.contains(word)) {
                found.push(format!("{}:{at}: {word}: {}", path.display(), line.trim()));
            }
        }
    }
    check("what the domain must do without", &found);
}

#[test]
fn every_file_says_what_it_is_and_is_short() {
    let mut found = Vec::new();
    for (path, text) in all_files() {
        let name = path.display();
        if path.file_name().is_some_and(|name| name == "mod.rs") {
            found.push(format!("{name}: the module's file is named after it"));
        }
        if !text.starts_with("//!") {
            found.push(format!("{name}: does not open with what it is"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{name}: {lines} lines"));
        }
    }
    check("files to put right", &found);
}

#[test]
fn nothing_is_tied_to_one_machine() {
    let mut machine = ["home", "Users", "root"]
        .map(|folder| format!("\"/{folder}/"))
        .to_vec();
    machine.push(root().display().to_string());
    let mut found = Vec::new();
    for (path, text) in all_files() {
        for (at, line) in text.lines().enumerate() {
            if machine.iter().any(|path| line.contains(path)) {
                found.push(format!("{}:{}: {}", path.display(), at + 1, line.trim()));
            }
        }
    }
    check("paths of one machine", &found);
}

#[test]
fn tests_neither_wait_for_time_nor_are_left_out() {
    let (ignored, sleep) = (format!("#[{}]", "ignore"), format!("thread::{}", "sleep"));
    let mut found = Vec::new();
    for (path, text) in files("tests") {
        for (at, line) in text.lines().enumerate() {
            if line.contains(&ignored) || line.contains(&sleep) {
                found.push(format!("{}:{}: {}", path.display(), at + 1, line.trim()));
            }
        }
    }
    check("tests that sleep or are ignored", &found);
}

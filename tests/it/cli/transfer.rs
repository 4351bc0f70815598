//! `export` and `import`: files, pipes, and what is said of lines that were left out.

use std::fs;

use super::{Shell, shell, text};
use crate::support::build::{assistant, user};
use crate::support::shared;

#[tokio::test]
async fn a_session_goes_through_a_file() {
    let shell = shell().await;
    let id = shell.0.holding([user("How far?"), assistant("Far.")]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (jsonl, md) = (file("a.jsonl"), file("a.md"));
    assert_eq!(shell.ok(&["export", &id, "-o", &jsonl]), "");
    assert_eq!(shell.ok(&["export", "-1", "-o", &md]), "");
    let markdown = fs::read_to_string(&md).unwrap();
    assert!(markdown.starts_with("# How far?\n"), "{markdown}");
    assert_eq!(shell.ok(&["export", &id]), markdown);
    assert_eq!(shell.ok(&["export", &id, "--format", "md"]), markdown);
    let lines = fs::read_to_string(&jsonl).unwrap();
    assert_eq!(lines.lines().count(), 3);
    assert_eq!(
        shell.ok(&["export", &id, "-f", "jsonl", "--revision", "2"]),
        lines
    );

    let elsewhere = Shell(shared().await);
    let said = elsewhere.ok(&["import", &jsonl]);
    assert_eq!(
        said,
        format!("{id}\nHow far? · 2 messages\nentries: 2 added, 0 were there\n")
    );
    assert_eq!(elsewhere.ok(&["export", &id, "-f", "jsonl"]), lines);
    let piped = elsewhere.piped(
        &[
            "import", "-", "--id", "mine", "--source", "s", "-w", "/w", "--json",
        ],
        &lines,
    );
    assert_eq!(piped.status.code(), Some(0), "{}", text(&piped.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&piped.stdout).unwrap();
    assert_eq!(answer["sessions"][0]["session_id"], "mine");
    assert_eq!(answer["sessions"][0]["workspace"], "/w");
    assert_eq!(answer["entries_added"], 2);
}

#[tokio::test]
async fn lines_that_were_left_out_are_named() {
    let shell = shell().await;
    let id = shell.0.holding([user("hi")]).await;
    let lines = shell.ok(&["export", &id, "--format", "jsonl"]);
    let elsewhere = Shell(shared().await);
    let output = elsewhere.piped(&["import", "-"], &format!("{lines}garbage\n{{\"torn"));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).ends_with("entries: 1 added, 0 were there\n"));
    assert_eq!(
        text(&output.stderr),
        "line 3: is not JSON, at column 1\nline 4: the last line is torn off\n\
         error: not all of it was taken: 2 lines above\n"
    );
}

#[tokio::test]
async fn no_half_a_file_is_left_behind() {
    let shell = shell().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.md");
    let name = path.to_str().unwrap();
    shell.no(1, &["export", "nobody", "-o", name]);
    let id = shell.0.holding([user("password=hunter2")]).await;
    shell.no(1, &["export", &id, "--revision", "9", "-o", name]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    shell.ok(&["export", &id, "--redact", "-o", name]);
    let seen = fs::read_to_string(&path).unwrap();
    assert!(
        seen.contains("password=[redacted]") && !seen.contains("hunter2"),
        "{seen}"
    );
    shell.no(
        1,
        &[
            "export",
            &id,
            "-o",
            folder.path().join("none/a.md").to_str().unwrap(),
        ],
    );
    let missing = shell.no(1, &["import", folder.path().join("missing").to_str().unwrap()]);
    assert!(missing.contains("cannot read"), "{missing}");
    // A folder can be opened, but not read: half a file is not imported.
    let unreadable = shell.no(1, &["import", folder.path().to_str().unwrap()]);
    assert!(unreadable.contains("cannot read"), "{unreadable}");
    shell.no(2, &["export", &id, "--format", "docx"]);
}

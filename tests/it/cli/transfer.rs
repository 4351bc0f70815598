//! `export` and `import`: files, pipes, and what is said of lines that were left out.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::{Shell, shell, text};
use crate::support::build::{assistant, user};
use crate::support::{shared, until};

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
    // What was said is nobody else's business.
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
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

/// A way to a server that lets no more than so many bytes come back; its address.
async fn stalling(server: &str, bytes: u64) -> String {
    let server = server.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut asking, _) = listener.accept().await.unwrap();
            let mut answering = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(async move {
                let (mut asked, mut told) = asking.split();
                let (mut answers, mut asks) = answering.split();
                let back = async {
                    let mut some = (&mut answers).take(bytes);
                    drop(tokio::io::copy(&mut some, &mut told).await);
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = back => {}
                    _ = tokio::io::copy(&mut asked, &mut asks) => {}
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn an_export_that_is_stopped_leaves_nothing_behind() {
    let shell = shell().await;
    let id = shell.0.holding([user(&"x".repeat(4 << 20))]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.md");
    fs::write(&path, "before").unwrap();
    let address = stalling(&shell.0.address(), 1 << 20).await;
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut export = shell
            .command(&["export", &id, "-o", path.to_str().unwrap()])
            .env("SESSIOND_ADDR", &address)
            .spawn()
            .unwrap();
        until("a part is written", || async {
            let files = fs::read_dir(folder.path())
                .unwrap()
                .map(|file| file.unwrap().path());
            let mut drafts = files.filter(|file| file.extension().is_some_and(|ending| ending == "part"));
            drafts.find(|draft| fs::metadata(draft).is_ok_and(|draft| draft.len() > 0))
        })
        .await;
        let sent = Command::new("kill")
            .args([signal, &export.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        let status = until("it has stopped", || {
            std::future::ready(export.try_wait().unwrap())
        })
        .await;
        assert_eq!(status.code(), Some(code), "{signal}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
    }
}

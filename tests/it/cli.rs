//! The command line against a server: what it prints for programs, what it does, and what it exits with.

mod history;
mod transfer;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::build::{asks, assistant, says, user};
use crate::support::pb::{Session, SessionState, Thread};
use crate::support::{Client, Server, shared};

/// The server and namespace that a command works in.
struct Shell(Client);

impl Shell {
    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessiond"));
        command
            .args(line)
            .env("SESSIOND_ADDR", self.0.address())
            .env("SESSIOND_NAMESPACE", self.0.namespace());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, line: &[&str]) -> Output {
        self.command(line).output().unwrap()
    }

    /// What a command prints that does what it is asked.
    #[track_caller]
    fn ok(&self, line: &[&str]) -> String {
        let output = self.run(line);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{line:?}: {out}{err}");
        assert_eq!(err, "", "{line:?}");
        out
    }

    /// The same with --json, read.
    #[track_caller]
    fn json(&self, line: &[&str]) -> Value {
        let out = self.ok(&[line, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// What a command says that is not done, and prints nothing else.
    #[track_caller]
    fn no(&self, code: i32, line: &[&str]) -> String {
        let output = self.run(line);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{line:?}: {out}{err}");
        assert_eq!(out, "", "{line:?}");
        err
    }

    fn piped(&self, line: &[&str], input: &str) -> Output {
        let mut command = self.command(line);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn ids(sessions: &Value) -> Vec<&str> {
    sessions
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["session_id"].as_str().unwrap())
        .collect()
}

async fn shell() -> Shell {
    Shell(shared().await)
}

#[tokio::test]
async fn ls_lists_for_people_and_programs() {
    let shell = shell().await;
    assert_eq!(shell.ok(&["ls"]), "no sessions\n");
    assert_eq!(shell.json(&["ls"]), json!([]));
    for (id, title) in [("first", "Bees"), ("second", "Ants")] {
        let session = Session {
            session_id: id.into(),
            title: title.into(),
            workspace: "/w".into(),
            ..Default::default()
        };
        shell.0.create(session).await;
    }
    let archived = Session {
        session_id: "first".into(),
        state: SessionState::Archived.into(),
        ..Default::default()
    };
    let listed = shell.json(&["ls"]);
    assert_eq!(ids(&listed), ["second", "first"]);
    assert_eq!(listed[0]["title"], "Ants");
    assert_eq!(listed[0]["revision"], 1);
    assert_eq!(listed[0]["state"], "SESSION_STATE_ACTIVE");
    let seen = shell.ok(&["ls"]);
    assert!(
        seen.contains("Ants") && seen.contains("second") && !seen.contains('\u{1b}'),
        "{seen}"
    );
    assert_eq!(
        ids(&shell.json(&["ls", "--sort", "title", "--limit", "1"])),
        ["second"]
    );
    assert_eq!(
        ids(&shell.json(&["list", "--sort", "created", "--reverse"])),
        ["first", "second"]
    );
    assert_eq!(ids(&shell.json(&["ls", "--title", "BEE"])), ["first"]);
    assert_eq!(ids(&shell.json(&["ls", "--workspace", "/v"])), Vec::<&str>::new());
    shell.0.update_or(archived, &["state"]).await.unwrap();
    assert_eq!(ids(&shell.json(&["ls"])), ["second"]);
    assert_eq!(ids(&shell.json(&["ls", "--archived"])), ["first"]);
    assert_eq!(ids(&shell.json(&["ls", "--all"])).len(), 2);
}

#[tokio::test]
async fn show_prints_a_conversation() {
    let shell = shell().await;
    let id = shell
        .0
        .holding([user("How far?"), assistant("Not \u{1b}[31mfar.")])
        .await;
    let shown = shell.json(&["show", &id]);
    assert_eq!(shown["session"]["session_id"], id.as_str());
    let said: Vec<_> = shown["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            (
                message["role"].as_str().unwrap(),
                message["content"][0]["text"]["text"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            ("ROLE_USER", "How far?"),
            ("ROLE_ASSISTANT", "Not \u{1b}[31mfar.")
        ]
    );
    let seen = shell.ok(&["show", &id]);
    assert!(seen.contains("How far?") && !seen.contains('\u{1b}'), "{seen:?}");
    let last = shell.json(&["show", "-1", "-n", "1"]);
    assert_eq!(last["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_session_is_picked_by_id_prefix_or_number() {
    let shell = shell().await;
    for id in ["alpha", "alphabet", "beta"] {
        shell
            .0
            .create(Session {
                session_id: id.into(),
                ..Default::default()
            })
            .await;
    }
    let picked = |pick: &str| {
        shell.json(&["show", pick])["session"]["session_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    for (pick, id) in [
        ("alpha", "alpha"),
        ("alphab", "alphabet"),
        ("b", "beta"),
        ("-1", "beta"),
        ("-3", "alpha"),
    ] {
        assert_eq!(picked(pick), id, "{pick}");
    }
    let several = shell.no(1, &["show", "al"]);
    assert!(
        several.contains("alpha") && several.contains("alphabet"),
        "{several}"
    );
    assert!(shell.no(1, &["show", "nobody"]).contains("nobody"));
    assert!(shell.no(1, &["show", "-4"]).contains("-4"));
}

#[tokio::test]
async fn append_makes_and_fills_sessions() {
    let shell = shell().await;
    let made = shell.json(&["append", "--new", "Hello there", "--workspace", "/w/."]);
    assert_eq!(made["session"]["title"], "Hello there");
    assert_eq!(made["session"]["workspace"], "/w");
    let id = made["session"]["session_id"].as_str().unwrap();
    let answered = shell.json(&["append", id, "Hello.", "--role", "assistant"]);
    assert_eq!(
        (&answered["first_seq"], &answered["entries_added"]),
        (&json!(2), &json!(1))
    );
    let piped = shell.piped(&["append", "-1", "-", "--json"], "from a pipe\n");
    assert_eq!(piped.status.code(), Some(0), "{}", text(&piped.stderr));
    let said: Vec<_> = shell
        .0
        .messages(id)
        .await
        .iter()
        .map(crate::support::build::said)
        .collect();
    assert_eq!(said, ["Hello there", "Hello.", "from a pipe"]);
    assert!(
        shell
            .no(1, &["append", id, "late", "--expected-revision", "1"])
            .contains("REVISION_MISMATCH")
    );
}

#[tokio::test]
async fn append_takes_entries_as_lines() {
    let shell = shell().await;
    let id = shell.0.blank().await;
    let line = |n: usize| {
        let message = json!({"role": "ROLE_USER", "content": [{"text": {"text": n.to_string()}}]});
        json!({"entry_id": format!("e{n}"), "message": message}).to_string()
    };
    let lines: Vec<_> = (0..2_500).map(line).collect();
    for added in [2_500, 0] {
        let output = shell.piped(&["append", &id, "--json-lines", "--json"], &lines.join("\n"));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&answer["entries_added"], &answer["last_seq"]),
            (&json!(added), &json!(2_500))
        );
    }
    assert_eq!(shell.0.session(&id).await.entry_count, 2_500);
    let bad = shell.piped(
        &["append", &id, "--json-lines"],
        "{\"message\": {\"role\": \"ROLE_USER\"}}\nnot json\n",
    );
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad.stderr).contains("line 2"), "{}", text(&bad.stderr));
    assert_eq!(shell.0.session(&id).await.entry_count, 2_500);
}

#[tokio::test]
async fn fork_cuts_where_it_is_told() {
    let shell = shell().await;
    let id = shell
        .0
        .holding([user("one"), assistant("two"), user("three"), assistant("four")])
        .await;
    let fork = shell.json(&["fork", &id, "--before", "1"]);
    assert_eq!(fork["session"]["title"], "one (fork 1)");
    assert_eq!(fork["session"]["message_count"], 2);
    assert_eq!(fork["removed_message"]["content"][0]["text"]["text"], "three");
    let seen = shell.ok(&[
        "fork",
        &id,
        "--turns-from-end",
        "0",
        "--title",
        "Mine",
        "--new-id",
        "mine",
    ]);
    assert!(seen.starts_with("mine\n") && seen.contains("three"), "{seen}");
    let last = shell.0.messages(&id).await[3].message_id.clone();
    assert_eq!(
        shell.json(&["fork", &id, "--through", &last])["session"]["message_count"],
        4
    );
    assert!(
        shell
            .no(1, &["fork", &id, "--before", "9"])
            .contains("FORK_POINT_OUT_OF_RANGE")
    );
    assert!(
        shell
            .no(1, &["fork", &id, "--before", "-1"])
            .contains("FORK_POINT_OUT_OF_RANGE")
    );
    shell.no(2, &["fork", &id]);
}

#[tokio::test]
async fn rm_and_restore_delete_and_bring_back() {
    let shell = shell().await;
    let id = shell.0.holding([user("one")]).await;
    assert_eq!(shell.json(&["rm", &id])["state"], "SESSION_STATE_DELETED");
    assert_eq!(ids(&shell.json(&["ls"])), Vec::<&str>::new());
    assert_eq!(ids(&shell.json(&["ls", "--deleted"])), [id.as_str()]);
    assert!(shell.ok(&["restore", "-1"]).contains(&id));
    assert_eq!(ids(&shell.json(&["ls"])), [id.as_str()]);
    assert!(shell.ok(&["rm", &id, "--force", "--yes"]).contains("gone"));
    assert!(shell.no(1, &["show", &id]).contains(&id));
    assert!(shell.no(1, &["restore", &id]).contains(&id));
}

#[tokio::test]
async fn prune_archives_and_deletes() {
    let shell = shell().await;
    for id in ["one", "two", "three"] {
        let session = Session {
            session_id: id.into(),
            workspace: "/w".into(),
            ..Default::default()
        };
        shell.0.create(session).await;
        let said = crate::support::build::entry(user("hello"));
        shell.0.append(id, vec![said]).await;
    }
    let told = shell.json(&["prune", "--keep", "1", "--dry-run"]);
    assert_eq!(told, json!({"session_ids": ["two", "one"], "count": 2}));
    assert_eq!(ids(&shell.json(&["ls"])).len(), 3);
    assert_eq!(
        shell.ok(&["prune", "--older-than", "1w"]),
        "0 sessions archived\n"
    );
    assert_eq!(shell.ok(&["prune", "--keep", "2"]), "one\n1 session archived\n");
    let deleted = shell.ok(&[
        "prune",
        "--older-than",
        "0s",
        "--delete",
        "--include-archived",
        "-y",
    ]);
    assert!(deleted.ends_with("3 sessions deleted\n"), "{deleted}");
    assert_eq!(ids(&shell.json(&["ls", "--deleted"])).len(), 3);
    shell.no(2, &["prune", "--delete"]);
}

#[tokio::test]
async fn threads_are_listed_shown_and_saved() {
    let shell = shell().await;
    assert_eq!(shell.ok(&["threads"]), "no threads\n");
    let thread = shell
        .0
        .open(Thread {
            thread_id: "walk".into(),
            title: "A walk".into(),
            ..Default::default()
        })
        .await;
    shell
        .0
        .turn(&thread, vec![asks("Where to?"), says("There.")])
        .await;
    let listed = shell.json(&["threads"]);
    assert_eq!(
        (&listed[0]["thread_id"], &listed[0]["item_count"]),
        (&json!("walk"), &json!(2))
    );
    let shown = shell.json(&["thread", "w"]);
    assert_eq!(shown["items"][0]["content"][0]["text"]["text"], "Where to?");
    assert_eq!(shown["turns"][0]["status"], "TURN_STATUS_COMPLETED");
    assert!(shell.ok(&["thread", "-1"]).contains("There."));
    let saved = shell.json(&["save", "walk", "--to", "kept", "--title", "Kept"]);
    assert_eq!(
        (&saved["created"], &saved["message_count"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(saved["session"]["title"], "Kept");
    assert_eq!(shell.json(&["save", "-1"])["created"], json!(false));
    assert_eq!(
        shell.json(&["threads", "--session", "kept"])[0]["thread_id"],
        "walk"
    );
    assert!(shell.no(1, &["save", "nobody"]).contains("nobody"));
}

#[tokio::test]
async fn completions_and_help_need_no_server() {
    let run = |line: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_sessiond"))
            .args(line)
            .output()
            .unwrap()
    };
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("sessiond"), "{shell}");
    }
    for line in [&["--help"][..], &["help", "fork"], &["--version"]] {
        let output = run(line);
        assert_eq!(
            (output.status.code(), output.stderr.len()),
            (Some(0), 0),
            "{line:?}"
        );
    }
    for line in [&["nonsense"][..], &["show"], &["ls", "--limit", "many"], &[]] {
        let output = run(line);
        assert_eq!(
            (output.status.code(), output.stdout.len()),
            (Some(2), 0),
            "{line:?}"
        );
    }
}

#[tokio::test]
async fn no_server_is_said_so() {
    let mut server = Server::start().await;
    let address = server.address().to_owned();
    server.stop().await;
    let output = Command::new(env!("CARGO_BIN_EXE_sessiond"))
        .args(["ls", "--addr", &address])
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let said = text(&output.stderr);
    assert!(
        said.contains(&address) && said.contains("sessiond serve"),
        "{said}"
    );
}

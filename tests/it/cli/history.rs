//! `tail`, `tree`, `diff`, `log` and `rewind`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use super::{shell, text};
use crate::support::build::{assistant, entries, event, user};
use crate::support::pb::Session;
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::rewind_session_request::To;
use crate::support::within;

fn lines(out: &str) -> Vec<Value> {
    let lines = out.lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn rewind_and_log() {
    let shell = shell().await;
    let id = shell
        .0
        .holding([user("first"), assistant("one"), user("second")])
        .await;
    let said = shell.ok(&["rewind", &id, "--drop", "2"]);
    assert!(said.contains("1 entry now, at revision 3"), "{said}");
    assert!(
        said.contains(&format!("sessiond rewind {id} --to-revision 2")),
        "{said}"
    );
    let log = shell.ok(&["log", &id]);
    assert_eq!(log.lines().count(), 3, "{log}");
    let revisions = shell.json(&["log", &id]);
    assert_eq!(
        (&revisions[0]["revision"], &revisions[0]["entry_count"]),
        (&json!(2), &json!(3))
    );
    let past = shell.json(&["show", &id, "--revision", "2"]);
    assert_eq!(past["messages"].as_array().unwrap().len(), 3);
    let undone = shell.json(&["rewind", &id, "--to-revision", "2"]);
    assert_eq!(undone["session"]["entry_count"], 3);
    let same = shell.ok(&["rewind", &id, "--to", "3"]);
    assert!(!same.contains("dropped"), "{same}");
    let said = shell.no(1, &["rewind", &id, "--to", "9"]);
    assert!(said.contains("INDEX_OUT_OF_RANGE"), "{said}");
    shell.no(2, &["rewind", &id]);
}

#[tokio::test]
async fn tree_draws_forks_and_parts() {
    let shell = shell().await;
    let session = |id: &str, parent: &str| Session {
        session_id: id.into(),
        parent_session_id: parent.into(),
        ..Default::default()
    };
    shell.0.create(session("root", "")).await;
    shell
        .0
        .append("root", entries([user("first"), user("second")]))
        .await;
    let fork = shell
        .0
        .fork("root", Point::UserMessageIndex(1))
        .await
        .session
        .unwrap();
    shell.0.create(session("zz-part", "root")).await;
    let drawn = shell.ok(&["tree", "zz-part"]);
    let expected = "root  first  2 messages\n└─ zz-part    0 messages · a sub-session\n";
    assert_eq!(drawn, expected);
    let drawn = shell.ok(&["tree", "root"]);
    let branch = format!(
        "├─ {}  first (fork 1)  1 message · a fork after 1 message\n",
        fork.session_id
    );
    assert!(drawn.contains(&branch), "{drawn}");
    let nodes = shell.json(&["tree", "root"]);
    assert_eq!(nodes.as_array().unwrap().len(), 3);
    assert_eq!(nodes[2]["parent_session_id"], "root");
    let listed = shell.json(&["ls", "--parent", "root"]);
    assert_eq!(super::ids(&listed), ["zz-part"]);
    let roots = shell.json(&["ls", "--roots"]);
    assert_eq!(roots.as_array().unwrap().len(), 2);
    assert!(shell.ok(&["ls"]).contains("PART OF"));
}

#[tokio::test]
async fn diff_counts_what_is_shared() {
    let shell = shell().await;
    let id = shell
        .0
        .holding([user("first"), assistant("one"), user("second")])
        .await;
    let fork = shell
        .0
        .fork(&id, Point::UserMessageIndex(1))
        .await
        .session
        .unwrap()
        .session_id;
    shell
        .0
        .append(&fork, entries([user("third"), assistant("three")]))
        .await;
    let told = shell.json(&["diff", &id, &fork]);
    assert_eq!(told["common"], 2);
    assert_eq!(told["a"].as_array().unwrap().len(), 1);
    let own = told["b"].as_array().unwrap();
    assert_eq!(own[1]["message"]["content"][0]["text"]["text"], "three");
    let said = shell.ok(&["diff", &id, &fork]);
    assert!(said.starts_with("2 entries in common\n"), "{said}");
    assert!(
        said.contains("2 entries of its own") && said.contains("third"),
        "{said}"
    );
    let same = shell.json(&["diff", &id, &id]);
    assert_eq!(same, json!({"common": 3, "a": [], "b": []}));
}

#[tokio::test]
async fn tail_prints_what_is_there() {
    let shell = shell().await;
    let id = shell
        .0
        .holding((0..15).map(|n| user(&format!("message {n}"))))
        .await;
    shell.0.append(&id, vec![event("{\"percent\":40}")]).await;
    let seqs = |out: &str| -> Vec<u64> {
        let entries = lines(out);
        entries
            .iter()
            .map(|told| told["entry"]["seq"].as_u64().unwrap())
            .collect()
    };
    let out = shell.ok(&["tail", &id, "--no-follow", "--json"]);
    assert_eq!(seqs(&out), (7..=16).collect::<Vec<_>>());
    let cursor = lines(&out)[9]["cursor"].as_str().unwrap().to_owned();
    let out = shell.ok(&["tail", &id, "--no-follow", "--json", "--since", "14"]);
    assert_eq!(seqs(&out), [15, 16]);
    assert_eq!(shell.ok(&["tail", &id, "--no-follow", "-n", "0"]), "");
    let said = shell.ok(&["tail", &id, "--no-follow", "-n", "1"]);
    assert!(
        said.contains("event  16") && said.contains("{\"percent\":40}"),
        "{said}"
    );
    shell.0.append(&id, entries([user("late")])).await;
    let out = shell.ok(&["tail", &id, "--no-follow", "--json", "--since", &cursor]);
    assert_eq!(seqs(&out), [17]);
    let said = shell.no(1, &["tail", &id, "--since", "nonsense"]);
    assert!(said.contains("cursor"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_follows_until_the_deletion() {
    let shell = shell().await;
    let id = shell.0.holding([user("first"), user("second")]).await;
    let mut child = shell
        .command(&["tail", &id, "-n", "1", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let reading = std::thread::spawn(move || {
        while let Some(Ok(line)) = out.next() {
            told.send(serde_json::from_str::<Value>(&line).unwrap()).unwrap();
        }
    });
    let mut next = async || within("a line", heard.recv()).await.unwrap();
    assert_eq!(next().await["entry"]["seq"], 2);
    shell.0.append(&id, entries([user("third")])).await;
    assert_eq!(next().await["entry"]["seq"], 3);
    shell.0.rewind(&id, To::ToSeq(1)).await;
    assert_eq!(next().await["rewound_to_seq"], 1);
    shell.0.delete(&id).await;
    assert_eq!(next().await["deleted"], true);
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())
        .await
        .unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(0), String::new())
    );
    reading.join().unwrap();
}

//! ExportSession and ImportSession: what goes out comes back, and nothing that is there is rewritten.

mod branches;
mod malformed;
mod many;
mod reading;
mod roundtrip;

use crate::support::build::{assistant, entries, user};
use crate::support::pb::{
    ExportFormat, ExportSessionRequest, ImportFormat, ImportHeader, ListSessionsRequest, Session,
};
use crate::support::transfer::{
    export_or, header, import_or, import_parts, imported, jsonl, parts, problems, sum,
};
use crate::support::{Client, Code, Server, invalid, pb, refused, shared, until};

/// A session that holds `count` messages with ids of their own; its id.
async fn talk_of(client: &Client, count: usize) -> String {
    let id = client.blank().await;
    let messages = (0..count).map(|number| {
        let said = if number % 2 == 0 { user } else { assistant }(&format!("message {number}"));
        pb::Message {
            message_id: format!("m{number}"),
            ..said
        }
    });
    client.append(&id, entries(messages)).await;
    id
}

#[tokio::test]
async fn formats_that_are_not_there_are_named() {
    let client = shared().await;
    let id = client.blank().await;
    let export = |format: i32| ExportSessionRequest {
        session_id: id.clone(),
        format,
        ..Default::default()
    };
    for (format, name) in [
        (ExportFormat::OpenaiChat, "EXPORT_FORMAT_OPENAI_CHAT"),
        (ExportFormat::Anthropic, "EXPORT_FORMAT_ANTHROPIC"),
    ] {
        let answer = export_or(&client, export(format.into())).await;
        assert!(refused(answer, Code::Unimplemented, "UNIMPLEMENTED").names(name));
    }
    for format in [0, 99] {
        invalid(export_or(&client, export(format)).await, "format");
    }
    let import = |format: i32| ImportHeader {
        format,
        ..Default::default()
    };
    for (format, name) in [
        (ImportFormat::Codex, "IMPORT_FORMAT_CODEX"),
        (ImportFormat::OpenaiChat, "IMPORT_FORMAT_OPENAI_CHAT"),
    ] {
        let answer = import_or(&client, import(format.into()), "").await;
        assert!(refused(answer, Code::Unimplemented, "UNIMPLEMENTED").names(name));
    }
    for format in [0, 99] {
        invalid(import_or(&client, import(format), "").await, "format");
    }
}

#[tokio::test]
async fn what_is_no_import_is_refused() {
    let client = shared().await;
    invalid(import_parts(&client, vec![]).await, "header");
    let whole = parts(&client, header(), b"{}\n", 10, "");
    invalid(import_parts(&client, whole[1..].to_vec()).await, "header");
    let twice = [whole.clone(), whole.clone()].concat();
    invalid(import_parts(&client, twice).await, "header");
    let nothing = pb::ImportSessionRequest::default();
    invalid(
        import_parts(&client, vec![whole[0].clone(), nothing]).await,
        "chunk",
    );
    for (field, header) in [
        (
            "session_id",
            ImportHeader {
                session_id: Some("a/b".into()),
                ..header()
            },
        ),
        (
            "source",
            ImportHeader {
                source: Some(" ".into()),
                ..header()
            },
        ),
    ] {
        invalid(import_or(&client, header, "").await, field);
    }
    let export = ExportSessionRequest {
        session_id: "nobody".into(),
        format: ExportFormat::Jsonl.into(),
        ..Default::default()
    };
    refused(
        export_or(&client, export.clone()).await,
        Code::NotFound,
        "SESSION_NOT_FOUND",
    );
    let id = client.blank().await;
    let revision = ExportSessionRequest {
        session_id: id,
        revision: Some(7),
        ..export
    };
    refused(
        export_or(&client, revision).await,
        Code::NotFound,
        "REVISION_NOT_FOUND",
    );
}

#[tokio::test]
async fn a_past_revision_goes_out_too() {
    let (client, elsewhere) = (shared().await, shared().await);
    let id = talk_of(&client, 4).await;
    let before = jsonl(&client, &id).await;
    let revision = client.session(&id).await.revision;
    let rewind = pb::RewindSessionRequest {
        session_id: id.clone(),
        to: Some(pb::rewind_session_request::To::ToSeq(2)),
        ..Default::default()
    };
    client.rewind_session(rewind).await.unwrap();
    let now = jsonl(&client, &id).await;
    assert_eq!(now.lines().count(), 3);
    let past = ExportSessionRequest {
        session_id: id.clone(),
        format: ExportFormat::Jsonl.into(),
        revision: Some(revision),
        ..Default::default()
    };
    let past = String::from_utf8(export_or(&client, past).await.unwrap().concat()).unwrap();
    // The facts are as they are now, the entries as they were.
    assert!(past.lines().skip(1).eq(before.lines().skip(1)));
    // What was dropped there is no other way: here the session goes on, then it is a part of what is there.
    assert_eq!(sum(&imported(&elsewhere, &now).await), (vec![id.clone()], 2, 0));
    assert_eq!(sum(&imported(&elsewhere, &past).await), (vec![id.clone()], 2, 2));
    assert_eq!(sum(&imported(&elsewhere, &now).await), (vec![id], 0, 2));
}

#[tokio::test]
async fn a_retry_answers_what_was_done() {
    let (client, elsewhere) = (shared().await, shared().await);
    let text = jsonl(&client, &talk_of(&client, 3).await).await;
    let text = format!("{text}garbage\n");
    let send = |size: usize, text: &str, request_id: &str| {
        import_parts(
            &elsewhere,
            parts(&elsewhere, header(), text.as_bytes(), size, request_id),
        )
    };
    let first = send(1 << 20, &text, "one").await.unwrap();
    assert_eq!((first.entries_added, first.problems.len()), (3, 1));
    let id = first.sessions[0].session_id.clone();
    elsewhere.append(&id, entries([user("since then")])).await;
    // However the text is cut, it is the same request.
    let again = send(7, &text, "one").await.unwrap();
    assert_eq!((again.entries_added, again.entries_skipped), (3, 0));
    assert_eq!(again.problems, first.problems);
    assert_eq!(
        again.sessions[0].message_count, 4,
        "the session is as it stands now"
    );
    for other in [format!("{text} "), lines_without_last(&text)] {
        let answer = send(1 << 20, &other, "one").await;
        refused(answer, Code::InvalidArgument, "REQUEST_ID_REUSED");
    }
    let mut wrong = parts(&elsewhere, ImportHeader::default(), b"", 1, "one");
    refused(
        import_parts(&elsewhere, wrong.split_off(0)).await,
        Code::InvalidArgument,
        "REQUEST_ID_REUSED",
    );
    let unnamed = send(1 << 20, &text, "").await.unwrap();
    assert_eq!((unnamed.entries_added, unnamed.entries_skipped), (0, 3));
}

fn lines_without_last(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[..lines.len() - 1].join("\n")
}

#[tokio::test]
async fn a_long_transcript_comes_in_and_goes_out() {
    let (client, elsewhere) = (shared().await, shared().await);
    let id = client
        .create(Session {
            title: "long".into(),
            ..Default::default()
        })
        .await
        .session_id;
    for batch in 0..4 {
        let messages = (0..5_000).map(|number| {
            let said = if number % 2 == 0 { user } else { assistant };
            said(&format!("message {batch} {number}"))
        });
        client.append(&id, entries(messages)).await;
    }
    let text = jsonl(&client, &id).await;
    let answer = imported(&elsewhere, &text).await;
    assert_eq!(sum(&answer), (vec![id.clone()], 20_000, 0));
    assert_eq!(problems(&answer), Vec::<String>::new());
    assert_eq!(answer.sessions[0].message_count, 20_000);
    assert!(jsonl(&elsewhere, &id).await == text, "byte for byte");
    let again = imported(&elsewhere, &text).await;
    assert_eq!(sum(&again), (vec![id], 0, 20_000));
}

/// Sends nearly all of a text, enough to have been staged, and leaves the call open: it, and what keeps it open.
async fn half_sent(
    server: &Server,
    client: &Client,
    text: &str,
) -> (
    tokio::task::JoinHandle<()>,
    tokio::sync::mpsc::Sender<pb::ImportSessionRequest>,
) {
    let mut parts = parts(client, header(), text.as_bytes(), 1 << 16, "");
    parts.pop();
    let (sent, taken) = tokio::sync::mpsc::channel(1);
    let call = tokio::spawn({
        let parts = tokio_stream::wrappers::ReceiverStream::new(taken);
        let mut sessions = client.sessions();
        async move { drop(sessions.import_session(parts).await) }
    });
    for part in parts {
        sent.send(part).await.unwrap();
    }
    until("what was sent is staged", || async {
        let files = std::fs::read_dir(server.data()).unwrap();
        let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        (bytes > text.len() as u64 / 2).then_some(())
    })
    .await;
    (call, sent)
}

#[tokio::test]
async fn what_is_cut_off_leaves_nothing() {
    let client = shared().await;
    let text = jsonl(&client, &talk_of(&client, 3_000).await).await;
    let mut server = Server::start().await;
    let elsewhere = server.client().await;
    // A caller that vanishes.
    let (call, sent) = half_sent(&server, &elsewhere, &text).await;
    call.abort();
    drop(sent);
    assert_eq!(elsewhere.listed(ListSessionsRequest::default()).await, []);
    // A server that is killed.
    let (call, _sent) = half_sent(&server, &elsewhere, &text).await;
    server.kill();
    call.await.unwrap();
    server.restart().await;
    let elsewhere = server.client_of(&elsewhere).await;
    assert_eq!(elsewhere.listed(ListSessionsRequest::default()).await, []);
    // The same import finds its place free.
    let answer = imported(&elsewhere, &text).await;
    assert_eq!((answer.entries_added, answer.sessions.len()), (3_000, 1));
}

//! RewindSession, ListRevisions, and what a session was.

use crate::support::build::{asks, assistant, checkpoint, entries, entry, event, says, talk, user};
use crate::support::failure::invalid;
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::rewind_session_request::To;
use crate::support::pb::{
    ForkSessionRequest, GetSessionRequest, ListEntriesRequest, ListRevisionsRequest, MessageView,
    ReadMessagesRequest, RewindSessionRequest, RewindSessionResponse, SessionRevision,
};
use crate::support::{Client, Code, Server, Status, fresh, pb, refused, shared};

fn rewinding(id: &str, to: To) -> RewindSessionRequest {
    RewindSessionRequest {
        session_id: id.into(),
        to: Some(to),
        ..Default::default()
    }
}

impl Client {
    async fn rewind_or(&self, id: &str, to: To) -> Result<RewindSessionResponse, Status> {
        self.rewind_session(rewinding(id, to)).await
    }

    /// Takes a session back.
    pub(crate) async fn rewind(&self, id: &str, to: To) -> RewindSessionResponse {
        self.rewind_or(id, to).await.unwrap()
    }

    async fn revisions(&self, id: &str) -> Vec<SessionRevision> {
        let request = ListRevisionsRequest {
            session_id: id.into(),
            ..Default::default()
        };
        self.list_revisions(request).await.unwrap().revisions
    }

    async fn talk_at(&self, id: &str, revision: u64, view: MessageView) -> Vec<String> {
        let request = ReadMessagesRequest {
            session_id: id.into(),
            view: view.into(),
            revision: Some(revision),
            ..Default::default()
        };
        talk(&self.read_messages(request).await.unwrap())
    }

    async fn at_revision(&self, id: &str, revision: u64) -> Result<pb::Session, Status> {
        let request = GetSessionRequest {
            session_id: id.into(),
            revision: Some(revision),
            ..Default::default()
        };
        Ok(self.get_session(request).await?.session.unwrap())
    }
}

/// Four messages, at revision 2.
async fn talked(client: &Client) -> String {
    let said = [user("first"), assistant("one"), user("second"), assistant("two")];
    client.holding(said).await
}

#[tokio::test]
async fn the_end_is_dropped_and_told() {
    let client = shared().await;
    let id = talked(&client).await;
    let before = client.entries(&id).await;
    let rewound = client.rewind(&id, To::DropLast(3)).await;
    assert_eq!(rewound.removed, before[1..]);
    assert_eq!(rewound.removed_count, 3);
    let session = rewound.session.unwrap();
    assert_eq!(
        (session.revision, session.entry_count, session.message_count),
        (3, 1, 1)
    );
    assert_eq!(session.preview, "first");
    let appended = client.append(&id, entries([assistant("other")])).await;
    assert_eq!((appended.first_seq, appended.session.unwrap().revision), (2, 4));
    assert_eq!(
        talk(&client.messages(&id).await),
        ["user: first", "assistant: other"]
    );
}

#[tokio::test]
async fn to_a_seq_and_to_nothing() {
    let client = shared().await;
    let id = talked(&client).await;
    let same = client.rewind(&id, To::ToSeq(4)).await;
    assert_eq!((same.removed.len(), same.removed_count), (0, 0));
    assert_eq!(same.session.unwrap(), client.session(&id).await);
    assert_eq!(client.session(&id).await.revision, 2, "nothing has changed");
    assert_eq!(client.rewind(&id, To::DropLast(0)).await.removed_count, 0);
    assert_eq!(client.rewind(&id, To::ToRevision(2)).await.removed_count, 0);
    assert_eq!(client.revisions(&id).await, []);
    let none = client.rewind(&id, To::ToSeq(0)).await;
    assert_eq!(none.removed_count, 4);
    let session = none.session.unwrap();
    assert_eq!(
        (
            session.entry_count,
            session.has_user_interaction,
            &*session.preview
        ),
        (0, false, "")
    );
    assert_eq!(session.title, "first", "what it was called it is called");
}

#[tokio::test]
async fn what_was_left_is_read_under_its_revision() {
    let client = shared().await;
    let id = client.blank().await;
    let log = vec![
        entry(user("first")),
        checkpoint(vec![user("in short")]),
        entry(assistant("one")),
        event("{}"),
    ];
    client.append(&id, log).await;
    let before = client.session(&id).await;
    let all = client.entries(&id).await;
    client.rewind(&id, To::ToSeq(1)).await;
    client.append(&id, entries([assistant("anew")])).await;

    let then = client.at_revision(&id, 2).await.unwrap();
    assert_eq!((then.entry_count, then.message_count, then.revision), (4, 2, 2));
    assert_eq!((&then.preview, &then.usage), (&before.preview, &before.usage));
    let request = ListEntriesRequest {
        session_id: id.clone(),
        revision: Some(2),
        ..Default::default()
    };
    assert_eq!(client.list_entries(request).await.unwrap().entries, all);
    assert_eq!(
        client.talk_at(&id, 2, MessageView::Visible).await,
        ["user: first", "assistant: one"]
    );
    assert_eq!(
        client.talk_at(&id, 2, MessageView::Context).await,
        ["user: in short", "assistant: one"]
    );
    let request = ForkSessionRequest {
        session_id: id.clone(),
        revision: Some(2),
        point: Some(Point::ThroughMessageId(all[2].entry_id.clone())),
        ..Default::default()
    };
    let fork = client.fork_session(request).await.unwrap().session.unwrap();
    assert_eq!(client.entries(&fork.session_id).await, all[..3]);
    let present = client.at_revision(&id, 4).await.unwrap();
    assert_eq!(present, client.session(&id).await);
    for revision in [1, 3, 5] {
        let failure = refused(
            client.at_revision(&id, revision).await,
            Code::NotFound,
            "REVISION_NOT_FOUND",
        );
        assert!(failure.names(&revision.to_string()), "{failure:?}");
    }
}

#[tokio::test]
async fn a_rewind_is_undone_and_done_again() {
    let client = shared().await;
    let id = talked(&client).await;
    let all = client.entries(&id).await;
    client.rewind(&id, To::ToSeq(2)).await;
    client.append(&id, entries([user("instead")])).await;
    let branch = client.entries(&id).await;
    let undone = client.rewind(&id, To::ToRevision(2)).await;
    assert_eq!((undone.removed, undone.removed_count), (branch[2..].to_vec(), 1));
    assert_eq!(undone.session.unwrap().revision, 5);
    assert_eq!(client.entries(&id).await, all);
    let revisions: Vec<_> = client.revisions(&id).await;
    let of = |at: usize| {
        (
            revisions[at].revision,
            revisions[at].entry_count,
            revisions[at].message_count,
        )
    };
    assert_eq!((revisions.len(), of(0), of(1)), (2, (4, 3, 3), (2, 4, 4)));
    assert!(revisions[0].create_time.is_some());
    client.rewind(&id, To::ToRevision(4)).await;
    assert_eq!(client.entries(&id).await, branch);
    client.append(&id, entries([assistant("goes on")])).await;
    assert_eq!(
        client.talk_at(&id, 4, MessageView::Visible).await.len(),
        3,
        "what was left stays as it was"
    );
}

#[tokio::test]
async fn what_cannot_be() {
    let client = shared().await;
    let id = talked(&client).await;
    let bare = RewindSessionRequest {
        session_id: id.clone(),
        ..Default::default()
    };
    invalid(client.rewind_session(bare).await, "to");
    invalid(client.rewind_or(&id, To::DropLast(-1)).await, "drop_last");
    for to in [To::DropLast(5), To::ToSeq(5)] {
        refused(
            client.rewind_or(&id, to).await,
            Code::OutOfRange,
            "INDEX_OUT_OF_RANGE",
        );
    }
    let answer = client.rewind_or(&id, To::ToRevision(9)).await;
    refused(answer, Code::NotFound, "REVISION_NOT_FOUND");
    let nobody = client.rewind_or("nobody", To::DropLast(1)).await;
    refused(nobody, Code::NotFound, "SESSION_NOT_FOUND");
    let late = RewindSessionRequest {
        expected_revision: Some(1),
        ..rewinding(&id, To::DropLast(9))
    };
    let failure = refused(
        client.rewind_session(late).await,
        Code::Aborted,
        "REVISION_MISMATCH",
    );
    assert!(failure.names("2"), "{failure:?}");
    client.delete(&id).await;
    let answer = client.rewind_or(&id, To::DropLast(1)).await;
    refused(answer, Code::FailedPrecondition, "SESSION_DELETED");
    let request = ListRevisionsRequest {
        session_id: "nobody".into(),
        ..Default::default()
    };
    refused(
        client.list_revisions(request).await,
        Code::NotFound,
        "SESSION_NOT_FOUND",
    );
}

#[tokio::test]
async fn a_retry_answers_the_same() {
    let client = shared().await;
    let id = talked(&client).await;
    let request = RewindSessionRequest {
        request_id: fresh("r"),
        expected_revision: Some(2),
        ..rewinding(&id, To::DropLast(2))
    };
    let first = client.rewind_session(request.clone()).await.unwrap();
    client.append(&id, entries([user("after")])).await;
    let again = client.rewind_session(request).await.unwrap();
    assert_eq!((again.removed, again.removed_count), (first.removed, 2));
    assert_eq!(again.session.unwrap().revision, 4, "as it stands now");
    assert_eq!(client.entries(&id).await.len(), 3);
}

#[tokio::test]
async fn a_long_rewind_tells_the_last_thousand() {
    let client = shared().await;
    let id = client.blank().await;
    for _ in 0..3 {
        client.append(&id, (0..500).map(|_| event("{}")).collect()).await;
    }
    let rewound = client.rewind(&id, To::ToSeq(0)).await;
    assert_eq!(rewound.removed_count, 1_500);
    let seqs: Vec<_> = rewound.removed.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, (501..=1_500).collect::<Vec<_>>());
    let large = event(&format!("\"{}\"", "x".repeat(1_000_000)));
    client
        .append(&id, vec![large.clone(), large.clone(), large])
        .await;
    let rewound = client.rewind(&id, To::ToSeq(0)).await;
    assert_eq!(
        (rewound.removed.len(), rewound.removed_count),
        (2, 3),
        "2 MiB at most"
    );
}

#[tokio::test]
async fn revisions_are_paged() {
    let client = shared().await;
    let id = talked(&client).await;
    for seq in [3, 2, 1, 0] {
        client.rewind(&id, To::ToSeq(seq)).await;
    }
    let mut request = ListRevisionsRequest {
        session_id: id,
        page_size: 3,
        ..Default::default()
    };
    let page = client.list_revisions(request.clone()).await.unwrap();
    let listed = |page: &pb::ListRevisionsResponse| -> Vec<u64> {
        page.revisions.iter().map(|revision| revision.revision).collect()
    };
    assert_eq!(listed(&page), [5, 4, 3]);
    request.page_token = page.next_page_token;
    let page = client.list_revisions(request).await.unwrap();
    assert_eq!((listed(&page), &*page.next_page_token), (vec![2], ""));
}

#[tokio::test]
async fn a_thread_does_not_write_past_a_rewind() {
    let client = shared().await;
    let thread = client.running(vec![asks("hello"), says("hi")]).await;
    let id = client.save(&thread).await.session.unwrap().session_id;
    client.rewind(&id, To::DropLast(1)).await;
    client.turn(&thread, vec![asks("more")]).await;
    refused(client.save_or(&thread).await, Code::Aborted, "SESSION_DIVERGED");
    client.rewind(&id, To::ToRevision(1)).await;
    client.save(&thread).await;
    assert_eq!(
        talk(&client.messages(&id).await),
        ["user: hello", "assistant: hi", "user: more"]
    );
}

#[tokio::test]
async fn a_resume_after_a_rewind_leaves_the_thread_its_turns() {
    let client = shared().await;
    let thread = client.running(vec![asks("hello"), says("hi")]).await;
    client.turn(&thread, vec![asks("more"), says("much")]).await;
    let id = client.save(&thread).await.session.unwrap().session_id;
    client.rewind(&id, To::ToSeq(2)).await;
    let resumed = client.resume(&id).await;
    assert_ne!(resumed.thread_id, thread, "it has a turn that the session lacks");
    assert_eq!(client.items(&thread).await.len(), 4);
    assert_eq!(client.items(&resumed.thread_id).await.len(), 2);
}

#[tokio::test]
async fn it_is_all_there_after_a_kill() {
    let mut server = Server::start().await;
    let client = server.client().await.in_namespace("n");
    let id = talked(&client).await;
    let all = client.entries(&id).await;
    client.rewind(&id, To::ToSeq(1)).await;
    server.kill();
    server.restart().await;
    let client = server.client().await.in_namespace("n");
    assert_eq!(client.entries(&id).await, all[..1]);
    assert_eq!(client.revisions(&id).await.len(), 1);
    client.rewind(&id, To::ToRevision(2)).await;
    assert_eq!(client.entries(&id).await, all);
}

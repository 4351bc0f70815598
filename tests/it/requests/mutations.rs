//! Every call that changes something, one of each, and what a namespace shows of it.

use crate::support::build::{asks, assistant, entries, named, says, user};
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{Session, Thread, TurnStatus};
use crate::support::{Client, Status, pb};

macro_rules! mutations {
    ($($name:ident($request:ident) by $rpc:ident;)+) => {
        /// A call that changes something.
        #[derive(Clone, Debug)]
        pub(super) enum Mutation {
            $($name(pb::$request),)+
        }

        impl Mutation {
            pub(super) fn under(mut self, request_id: &str) -> Self {
                match &mut self {
                    $(Self::$name(request) => request.request_id = request_id.to_owned(),)+
                }
                self
            }

            /// Calls, and returns the answer as text.
            pub(super) async fn send(&self, client: &Client) -> Result<String, Status> {
                match self {
                    $(Self::$name(request) => {
                        let answer = client.$rpc(request.clone()).await?;
                        Ok(format!("{answer:?}"))
                    })+
                }
            }
        }
    };
}

mutations! {
    CreateSession(CreateSessionRequest) by create_session;
    UpdateSession(UpdateSessionRequest) by update_session;
    DeleteSession(DeleteSessionRequest) by delete_session;
    UndeleteSession(UndeleteSessionRequest) by undelete_session;
    AppendEntries(AppendEntriesRequest) by append_entries;
    SaveSession(SaveSessionRequest) by save_session;
    ForkSession(ForkSessionRequest) by fork_session;
    CreateThread(CreateThreadRequest) by create_thread;
    UpdateThread(UpdateThreadRequest) by update_thread;
    DeleteThread(DeleteThreadRequest) by delete_thread;
    StartTurn(StartTurnRequest) by start_turn;
    AppendItems(AppendItemsRequest) by append_items;
    FinishTurn(FinishTurnRequest) by finish_turn;
}

/// One of each mutation, each on a resource of its own, which is made here.
pub(super) async fn one_of_each(client: &Client) -> Vec<Mutation> {
    let talk = || [user("a"), assistant("b"), user("c")];
    let (appended, forked, updated) = (
        client.holding(talk()).await,
        client.holding(talk()).await,
        client.holding(talk()).await,
    );
    let (doomed, purged, dead) = (
        client.holding(talk()).await,
        client.blank().await,
        client.blank().await,
    );
    client.delete(&dead).await;
    let saved = client.running(vec![asks("a"), says("b")]).await;
    let (idle, busy, ending) = (
        client.open(Thread::default()).await,
        client.open(Thread::default()).await,
        client.open(Thread::default()).await,
    );
    let (busy_turn, ending_turn) = (client.start(&busy).await, client.start(&ending).await);
    let (closed, lost) = (
        client.open(Thread::default()).await,
        client.open(Thread::default()).await,
    );
    let session = Session {
        title: "made".into(),
        ..Default::default()
    };
    let renamed = Session {
        session_id: updated,
        title: "renamed".into(),
        ..Default::default()
    };
    let mode = Thread {
        thread_id: closed,
        mode: "plan".into(),
        ..Default::default()
    };
    vec![
        Mutation::CreateSession(pb::CreateSessionRequest {
            session: Some(session),
            ..Default::default()
        }),
        Mutation::UpdateSession(pb::UpdateSessionRequest {
            session: Some(renamed),
            ..Default::default()
        }),
        Mutation::DeleteSession(pb::DeleteSessionRequest {
            session_id: doomed,
            ..Default::default()
        }),
        Mutation::DeleteSession(pb::DeleteSessionRequest {
            session_id: purged,
            force: true,
            ..Default::default()
        }),
        Mutation::UndeleteSession(pb::UndeleteSessionRequest {
            session_id: dead,
            ..Default::default()
        }),
        Mutation::AppendEntries(pb::AppendEntriesRequest {
            session_id: appended,
            entries: entries([assistant("d"), named("e", user("e"))]),
            expected_revision: Some(2),
            ..Default::default()
        }),
        Mutation::SaveSession(pb::SaveSessionRequest {
            thread_id: saved,
            ..Default::default()
        }),
        Mutation::ForkSession(pb::ForkSessionRequest {
            session_id: forked,
            point: Some(Point::UserMessageIndex(1)),
            ..Default::default()
        }),
        Mutation::CreateThread(pb::CreateThreadRequest {
            thread: Some(Thread::default()),
            ..Default::default()
        }),
        Mutation::UpdateThread(pb::UpdateThreadRequest {
            thread: Some(mode),
            ..Default::default()
        }),
        Mutation::DeleteThread(pb::DeleteThreadRequest {
            thread_id: lost,
            ..Default::default()
        }),
        Mutation::StartTurn(pb::StartTurnRequest {
            thread_id: idle,
            ..Default::default()
        }),
        Mutation::AppendItems(pb::AppendItemsRequest {
            thread_id: busy,
            turn_id: busy_turn,
            items: vec![asks("a"), says("b")],
            ..Default::default()
        }),
        Mutation::FinishTurn(pb::FinishTurnRequest {
            thread_id: ending,
            turn_id: ending_turn,
            status: TurnStatus::Failed.into(),
            ..Default::default()
        }),
    ]
    .into_iter()
    .enumerate()
    .map(|(n, mutation)| mutation.under(&format!("request {n}")))
    .collect()
}

/// Everything that a namespace shows.
pub(super) async fn everything(client: &Client) -> String {
    let states = vec![1, 2, 3];
    let sessions = client
        .listed(pb::ListSessionsRequest {
            states,
            ..Default::default()
        })
        .await;
    let mut seen = format!("{sessions:#?}");
    for session in sessions {
        seen += &format!("{:#?}", client.entries(&session.session_id).await);
    }
    let threads = client
        .list_threads(pb::ListThreadsRequest::default())
        .await
        .unwrap()
        .threads;
    seen += &format!("{threads:#?}");
    for thread in threads {
        let list = pb::ListItemsRequest {
            thread_id: thread.thread_id,
            ..Default::default()
        };
        seen += &format!("{:#?}", client.list_items(list).await.unwrap());
    }
    seen
}

/// Whether the resource of the answer is gone afterwards, so that a retry cannot show it.
pub(super) fn removes(mutation: &Mutation) -> bool {
    match mutation {
        Mutation::DeleteThread(_) => true,
        Mutation::DeleteSession(request) => request.force,
        _ => false,
    }
}

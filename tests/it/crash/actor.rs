//! Someone who writes without pause and remembers what was acknowledged: to a session of their own and one that all
//! share, to a thread that is saved now and then, and to forks.

use std::sync::{Arc, Mutex};

use crate::support::build::{asks, entries, named, said, says, talk, user};
use crate::support::pb::content_block::Block;
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::rewind_session_request::To;
use crate::support::pb::{
    AppendEntriesRequest, AppendItemsRequest, Entry, FinishTurnRequest, ForkSessionRequest, Item,
    PruneAction, PruneSessionsRequest, RewindSessionRequest, SaveSessionRequest, SearchMessagesRequest,
    Session, StartTurnRequest, Thread, TurnStatus,
};
use crate::support::rng::Rng;
use crate::support::watch::Reader;
use crate::support::{Client, Status, until};

use super::Round;

/// The session that all actors append to, and what they know to be in it: the first seq of a batch, and its ids.
#[derive(Debug)]
pub(super) struct Shared {
    session: String,
    batches: Mutex<Vec<(u64, Vec<String>)>>,
}

impl Shared {
    pub(super) fn new(session: String) -> Self {
        Self {
            session,
            batches: Mutex::default(),
        }
    }

    /// Which session it is.
    pub(super) fn session(&self) -> &str {
        &self.session
    }

    /// It holds every batch in one piece where it was said to be, and nothing else.
    pub(super) async fn check(&self, client: &Client) {
        let ids = ids(&client.entries(&self.session).await);
        let mut batches = self.batches.lock().unwrap().clone();
        batches.sort();
        let known: Vec<_> = batches.iter().flat_map(|(_, ids)| ids.clone()).collect();
        assert_eq!(ids, known);
        let mut next = 1;
        for (first, ids) in batches {
            assert_eq!(first, next, "batches lie one behind the other");
            next += ids.len() as u64;
        }
        assert_eq!(
            client.session(&self.session).await.message_count,
            ids.len() as u64
        );
    }
}

/// One call.
#[derive(Clone, Debug)]
enum Step {
    Append(AppendEntriesRequest),
    Share(AppendEntriesRequest),
    Start(StartTurnRequest),
    Items(AppendItemsRequest),
    Finish(FinishTurnRequest),
    Save(SaveSessionRequest),
    Fork(ForkSessionRequest, usize),
    Rewind(RewindSessionRequest, usize),
    Prune(PruneSessionsRequest),
}

/// Somebody who watches a session over all kills, and never sees anything twice or out of order.
#[derive(Debug)]
pub(super) struct Watcher {
    session: String,
    reader: Reader,
}

impl Watcher {
    pub(super) async fn new(client: &Client, session: &str) -> Self {
        Self {
            session: session.to_owned(),
            reader: client.reader(session).await,
        }
    }

    /// Reads until the server is gone.
    pub(super) async fn watch(&mut self) {
        while self.reader.try_step().await.is_ok() {}
    }

    /// Goes on where it was, and comes to have what is there.
    pub(super) async fn check(&mut self, client: &Client) {
        self.reader.reconnect(client, &self.session).await;
        let expected = client.entries(&self.session).await;
        self.reader.until(|it| it.entries == expected).await;
    }
}

/// What a call made that the actor has to remember.
enum Made {
    Nothing,
    Seq(u64),
    Turn(String),
    Session(String),
}

/// An actor and all that they were told.
#[derive(Debug)]
pub(super) struct Actor {
    name: String,
    rng: Rng,
    calls: u64,
    shared: Arc<Shared>,
    session: String,
    entries: Vec<String>,
    thread: String,
    turn: Option<String>,
    turns: u64,
    items: Vec<String>,
    saved: Option<(String, usize)>,
    forks: Vec<(String, Vec<String>)>,
    /// The call that was not answered.
    pending: Option<Step>,
    /// The last one that was.
    last: Option<Step>,
}

fn ids(entries: &[Entry]) -> Vec<String> {
    assert!(
        entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq),
        "seqs are dense"
    );
    entries.iter().map(|entry| entry.entry_id.clone()).collect()
}

fn text_of(item: &Item) -> String {
    match &item.content[0].block {
        Some(Block::Text(text)) => text.text.clone(),
        other => panic!("{other:?}"),
    }
}

impl Actor {
    /// One with a session and a thread of their own.
    pub(super) async fn new(client: &Client, n: u64, rng: Rng, shared: Arc<Shared>) -> Self {
        Self {
            name: format!("actor{n}"),
            rng,
            calls: 0,
            shared,
            session: client
                .create(Session {
                    title: "Crash".into(),
                    ..Default::default()
                })
                .await
                .session_id,
            entries: Vec::new(),
            thread: client.open(Thread::default()).await,
            turn: None,
            turns: 0,
            items: Vec::new(),
            saved: None,
            forks: Vec::new(),
            pending: None,
            last: None,
        }
    }

    /// The session that is the actor's own.
    pub(super) fn session(&self) -> &str {
        &self.session
    }

    /// Calls until the server is gone.
    pub(super) async fn act(&mut self, client: &Client, round: &Round) {
        loop {
            let step = self.next();
            match self.send(client, &step).await {
                Ok(made) => {
                    self.remember(step, made);
                    round.answered();
                }
                Err(status) => {
                    assert!(
                        round.is_over(),
                        "{step:?} failed on a server that lives: {status:?}"
                    );
                    self.pending = Some(step);
                    return;
                }
            }
        }
    }

    /// What was not answered is there as a whole or not at all, before it is asked for again.
    pub(super) async fn check_what_is_there(&self, client: &Client) {
        let found = ids(&client.entries(&self.session).await);
        let mut possible = vec![self.entries.clone()];
        if let Some(Step::Append(request)) = &self.pending {
            let added = request.entries.iter().map(|entry| entry.entry_id.clone());
            possible.push(self.entries.iter().cloned().chain(added).collect());
        }
        if let Some(Step::Rewind(_, kept)) = &self.pending {
            possible.push(self.entries[..*kept].to_vec());
        }
        assert!(
            possible.contains(&found),
            "{}: {found:?} is none of {possible:?}",
            self.name
        );
        let items = client.items(&self.thread).await.len();
        let pending = match &self.pending {
            Some(Step::Items(request)) => request.items.len(),
            _ => 0,
        };
        assert!(
            [self.items.len(), self.items.len() + pending].contains(&items),
            "{}: {items} items",
            self.name
        );
        if let Some(Step::Fork(request, cut)) = &self.pending
            && let Ok(fork) = client.session_or(request.new_session_id.as_ref().unwrap()).await
        {
            assert_eq!(client.entries(&fork.session_id).await.len(), *cut);
        }
    }

    /// Sends what was not answered, and once more what was: neither does anything twice.
    pub(super) async fn ask_again(&mut self, client: &Client) {
        if let Some(step) = self.pending.take() {
            let made = self.send(client, &step).await.unwrap();
            self.remember(step, made);
        }
        if let Some(step) = self.last.clone() {
            self.send(client, &step).await.unwrap();
        }
    }

    /// Everything that was acknowledged is there, and nothing else; counts agree with what is read.
    pub(super) async fn check(&self, client: &Client) {
        let found = ids(&client.entries(&self.session).await);
        assert_eq!(found, self.entries, "{}", self.name);
        let session = client.session(&self.session).await;
        let messages = client.messages(&self.session).await;
        let counts = (session.entry_count, session.message_count, messages.len());
        assert_eq!(
            counts,
            (found.len() as u64, found.len() as u64, found.len()),
            "{}",
            self.name
        );
        assert!(
            messages.iter().all(|message| said(message) == message.message_id),
            "contents are their own"
        );

        let items = client.items(&self.thread).await;
        assert_eq!(
            items.iter().map(text_of).collect::<Vec<_>>(),
            self.items,
            "{}",
            self.name
        );
        assert!(items.iter().zip(1..).all(|(item, seq)| item.seq == seq));
        let thread = client.thread(&self.thread).await;
        assert_eq!(
            (thread.item_count, thread.turn_count),
            (items.len() as u64, self.turns)
        );
        assert_eq!(thread.active_turn_id, self.turn.clone().unwrap_or_default());

        if let Some((id, count)) = &self.saved {
            let (session, messages) = (client.session(id).await, client.messages(id).await);
            let said = |(n, item): (usize, &String)| format!("{}: {item}", ["user", "assistant"][n % 2]);
            let expected: Vec<_> = self.items[..*count].iter().enumerate().map(said).collect();
            assert_eq!(talk(&messages), expected, "{}", self.name);
            assert_eq!(
                (session.message_count, session.entry_count),
                (*count as u64, *count as u64)
            );
            assert_eq!(ids(&client.entries(id).await).len(), *count);
        }
        for (id, shared) in &self.forks {
            assert_eq!(ids(&client.entries(id).await), *shared, "{}: {id}", self.name);
            assert_eq!(client.session(id).await.message_count, shared.len() as u64);
        }
    }

    /// The last message that was acknowledged is found by its words, though the index was killed too.
    pub(super) async fn is_found(&self, client: &Client) {
        let Some(id) = self.entries.last() else { return };
        let request = SearchMessagesRequest {
            query: format!("\"{id}\""),
            session_id: Some(self.session.clone()),
            ..Default::default()
        };
        until("a message is indexed", async || {
            let hits = client.search_messages(request.clone()).await.unwrap().hits;
            hits.iter().any(|hit| hit.message_id == *id).then_some(())
        })
        .await;
    }

    fn next(&mut self) -> Step {
        self.calls += 1;
        let request_id = format!("{}-{}", self.name, self.calls);
        match self.rng.below(10) {
            0..3 => Step::Append(self.append(&self.session.clone(), request_id)),
            3..4 => Step::Share(self.append(&self.shared.session.clone(), request_id)),
            4..5 if !self.entries.is_empty() => {
                let cut = self.rng.index(self.entries.len());
                let fork = ForkSessionRequest {
                    session_id: self.session.clone(),
                    point: Some(Point::UserMessageIndex(i64::try_from(cut).unwrap())),
                    new_session_id: Some(format!("{request_id}-fork")),
                    request_id,
                    ..Default::default()
                };
                Step::Fork(fork, cut)
            }
            5..6 if !self.entries.is_empty() && self.rng.below(2) == 0 => {
                let kept = self.entries.len() - 1 - self.rng.index(self.entries.len().min(6));
                let rewind = RewindSessionRequest {
                    session_id: self.session.clone(),
                    to: Some(To::ToSeq(kept as u64)),
                    request_id,
                    ..Default::default()
                };
                Step::Rewind(rewind, kept)
            }
            6..7 if self.rng.below(8) == 0 => Step::Prune(PruneSessionsRequest {
                older_than: Some(prost_types::Duration::default()),
                action: PruneAction::Archive.into(),
                request_id,
                ..Default::default()
            }),
            _ => self.talk(request_id),
        }
    }

    fn append(&mut self, session_id: &str, request_id: String) -> AppendEntriesRequest {
        let count = 1 + self.rng.below(8);
        let messages = (0..count).map(|n| format!("{request_id}-{n}"));
        let mut entries = entries(messages.map(|id| named(&id, user(&id))));
        for entry in &mut entries {
            if let Some(crate::support::pb::entry::Payload::Message(message)) = &entry.payload {
                entry.entry_id.clone_from(&message.message_id);
            }
        }
        AppendEntriesRequest {
            session_id: session_id.to_owned(),
            entries,
            request_id,
            ..Default::default()
        }
    }

    /// The next step of the thread: each turn is some questions and answers; it is saved between turns.
    fn talk(&mut self, request_id: String) -> Step {
        let thread_id = self.thread.clone();
        let Some(turn_id) = self.turn.clone() else {
            let unsaved = self.items.len() > self.saved.as_ref().map_or(0, |(_, count)| *count);
            return if unsaved && self.rng.below(2) == 0 {
                Step::Save(SaveSessionRequest {
                    thread_id,
                    request_id,
                    ..Default::default()
                })
            } else {
                Step::Start(StartTurnRequest {
                    thread_id,
                    request_id,
                    ..Default::default()
                })
            };
        };
        if self.rng.below(3) == 0 {
            let status = TurnStatus::Completed.into();
            return Step::Finish(FinishTurnRequest {
                thread_id,
                turn_id,
                status,
                request_id,
                ..Default::default()
            });
        }
        let pairs = 1 + self.rng.below(4);
        let pair = |n| {
            [
                asks(&format!("{request_id}-{n}?")),
                says(&format!("{request_id}-{n}!")),
            ]
        };
        let items = (0..pairs).flat_map(pair).collect();
        Step::Items(AppendItemsRequest {
            thread_id,
            turn_id,
            items,
            epoch: None,
            request_id,
            ..Default::default()
        })
    }

    async fn send(&self, client: &Client, step: &Step) -> Result<Made, Status> {
        Ok(match step {
            Step::Append(request) => {
                client.append_entries(request.clone()).await?;
                Made::Nothing
            }
            Step::Share(request) => Made::Seq(client.append_entries(request.clone()).await?.first_seq),
            Step::Start(request) => {
                Made::Turn(client.start_turn(request.clone()).await?.turn.unwrap().turn_id)
            }
            Step::Items(request) => {
                client.append_items(request.clone()).await?;
                Made::Nothing
            }
            Step::Finish(request) => {
                client.finish_turn(request.clone()).await?;
                Made::Nothing
            }
            Step::Save(request) => Made::Session(
                client
                    .save_session(request.clone())
                    .await?
                    .session
                    .unwrap()
                    .session_id,
            ),
            Step::Fork(request, _) => {
                let fork = client.fork_session(request.clone()).await?.session.unwrap();
                assert!(fork.title.starts_with("Crash (fork "), "{fork:?}");
                Made::Nothing
            }
            Step::Rewind(request, _) => {
                client.rewind_session(request.clone()).await?;
                Made::Nothing
            }
            Step::Prune(request) => {
                client.prune_sessions(request.clone()).await?;
                Made::Nothing
            }
        })
    }

    fn remember(&mut self, step: Step, made: Made) {
        match (&step, made) {
            (Step::Append(request), _) => {
                self.entries
                    .extend(request.entries.iter().map(|entry| entry.entry_id.clone()));
            }
            (Step::Share(request), Made::Seq(first)) => {
                let ids = request
                    .entries
                    .iter()
                    .map(|entry| entry.entry_id.clone())
                    .collect();
                self.shared.batches.lock().unwrap().push((first, ids));
            }
            (Step::Start(_), Made::Turn(turn)) => {
                self.turn = Some(turn);
                self.turns += 1;
            }
            (Step::Items(request), _) => self.items.extend(request.items.iter().map(text_of)),
            (Step::Finish(_), _) => self.turn = None,
            (Step::Save(_), Made::Session(id)) => self.saved = Some((id, self.items.len())),
            (Step::Fork(request, cut), _) => {
                let shared = self.entries[..*cut].to_vec();
                self.forks.push((request.new_session_id.clone().unwrap(), shared));
            }
            (Step::Rewind(_, kept), _) => self.entries.truncate(*kept),
            (Step::Prune(_), _) => {}
            (Step::Share(_) | Step::Start(_) | Step::Save(_), _) => unreachable!("{step:?} makes something"),
        }
        self.last = Some(step);
    }
}

//! Readers that watch: what they were told, put together as a client would.

use std::collections::HashSet;

use sessiond::pb::client::{self as pb, Entry, Item, Session, Thread, Turn};
use tonic::{Status, Streaming};

use super::client::Client;
use super::wait::within;

/// One who watches a session, and has what it was told. It checks that every entry comes once and in its place.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: Streaming<pb::WatchSessionResponse>,
    /// What it has of the log.
    pub(crate) entries: Vec<Entry>,
    /// The session as it was told last.
    pub(crate) session: Session,
    /// Every place that it was sent back to.
    pub(crate) rewound: Vec<u64>,
    /// Whether the session was deleted.
    pub(crate) deleted: bool,
    /// Where it stands.
    pub(crate) cursor: String,
}

/// One who watches a thread, and has what it was told.
#[derive(Debug)]
pub(crate) struct ThreadReader {
    stream: Streaming<pb::WatchThreadResponse>,
    /// Its items, by place: the last version of each.
    pub(crate) items: Vec<Item>,
    /// Its turns, in the order that they were first told.
    pub(crate) turns: Vec<Turn>,
    /// The thread as it was told last.
    pub(crate) thread: Thread,
    /// Every place that it was sent back to.
    pub(crate) rewound: Vec<u64>,
    /// Whether the thread was deleted.
    pub(crate) deleted: bool,
    /// Where it stands.
    pub(crate) cursor: String,
    /// How often items came.
    pub(crate) told: usize,
}

impl Client {
    /// Watches a session where that may be refused.
    pub(crate) async fn watch_session_or(
        &self,
        id: &str,
        cursor: Option<&str>,
    ) -> Result<Streaming<pb::WatchSessionResponse>, Status> {
        let request = pb::WatchSessionRequest {
            namespace: self.namespace().into(),
            session_id: id.into(),
            cursor: cursor.map(Into::into),
        };
        Ok(self.sessions().watch_session(request).await?.into_inner())
    }

    /// Watches a session from its first entry.
    pub(crate) async fn reader(&self, id: &str) -> Reader {
        Reader::new(self.watch_session_or(id, None).await.expect("it can be watched"))
    }

    /// Watches a thread where that may be refused.
    pub(crate) async fn watch_thread_or(
        &self,
        id: &str,
        cursor: Option<&str>,
    ) -> Result<Streaming<pb::WatchThreadResponse>, Status> {
        let request = pb::WatchThreadRequest {
            namespace: self.namespace().into(),
            thread_id: id.into(),
            cursor: cursor.map(Into::into),
        };
        Ok(self.threads().watch_thread(request).await?.into_inner())
    }

    /// Watches a thread from its first item.
    pub(crate) async fn thread_reader(&self, id: &str) -> ThreadReader {
        let stream = self.watch_thread_or(id, None).await.expect("it can be watched");
        ThreadReader {
            stream,
            items: Vec::new(),
            turns: Vec::new(),
            thread: Thread::default(),
            rewound: Vec::new(),
            deleted: false,
            cursor: String::new(),
            told: 0,
        }
    }
}

impl Reader {
    /// One who has nothing yet.
    pub(crate) fn new(stream: Streaming<pb::WatchSessionResponse>) -> Self {
        Self {
            stream,
            entries: Vec::new(),
            session: Session::default(),
            rewound: Vec::new(),
            deleted: false,
            cursor: String::new(),
        }
    }

    /// Takes the next response.
    pub(crate) async fn step(&mut self) {
        let told = within("a response", self.stream.message()).await;
        let told = told.expect("a stream that stands").expect("a response");
        self.take(told);
    }

    /// Takes the next response where there may be none.
    pub(crate) async fn try_step(&mut self) -> Result<(), Status> {
        let told = within("a response or the end", self.stream.message()).await?;
        self.take(told.expect("a stream does not end by itself"));
        Ok(())
    }

    /// Takes responses until it has what is waited for.
    pub(crate) async fn until(&mut self, mut is_so: impl FnMut(&Self) -> bool) {
        while !is_so(self) {
            self.step().await;
        }
    }

    /// The error or the end that comes instead of a response.
    pub(crate) async fn end(&mut self) -> Result<(), Status> {
        match within("the end", self.stream.message()).await {
            Ok(None) => Ok(()),
            Ok(Some(told)) => panic!("something more: {told:?}"),
            Err(status) => Err(status),
        }
    }

    /// Leaves, and comes back where it stood.
    pub(crate) async fn reconnect(&mut self, client: &Client, id: &str) {
        let stream = client.watch_session_or(id, Some(&self.cursor)).await;
        self.stream = stream.expect("it can be watched");
    }

    /// The same reader on another stream, which was asked for under its cursor.
    pub(crate) fn over(self, stream: Streaming<pb::WatchSessionResponse>) -> Self {
        Self { stream, ..self }
    }

    fn take(&mut self, told: pb::WatchSessionResponse) {
        assert!(!self.deleted, "something after the deletion: {told:?}");
        if let Some(seq) = told.rewound_to_seq {
            assert!(seq < self.entries.len() as u64, "it never was past {seq}");
            self.entries.truncate(usize::try_from(seq).expect("small"));
            self.rewound.push(seq);
        }
        for entry in told.entries {
            assert_eq!(
                entry.seq,
                self.entries.len() as u64 + 1,
                "every entry once, in order"
            );
            self.entries.push(entry);
        }
        assert!(!told.cursor.is_empty());
        self.cursor = told.cursor;
        self.deleted = told.deleted;
        if let Some(session) = told.session {
            self.session = session;
        }
    }
}

impl ThreadReader {
    /// Takes the next response.
    pub(crate) async fn step(&mut self) {
        let told = within("a response", self.stream.message()).await;
        let told = told.expect("a stream that stands").expect("a response");
        self.take(told);
    }

    /// Takes responses until it has what is waited for.
    pub(crate) async fn until(&mut self, mut is_so: impl FnMut(&Self) -> bool) {
        while !is_so(self) {
            self.step().await;
        }
    }

    /// The error or the end that comes instead of a response.
    pub(crate) async fn end(&mut self) -> Result<(), Status> {
        match within("the end", self.stream.message()).await {
            Ok(None) => Ok(()),
            Ok(Some(told)) => panic!("something more: {told:?}"),
            Err(status) => Err(status),
        }
    }

    /// Leaves, and comes back where it stood.
    pub(crate) async fn reconnect(&mut self, client: &Client, id: &str) {
        let stream = client.watch_thread_or(id, Some(&self.cursor)).await;
        self.stream = stream.expect("it can be watched");
    }

    fn take(&mut self, told: pb::WatchThreadResponse) {
        assert!(!self.deleted, "something after the deletion: {told:?}");
        if let Some(seq) = told.rewound_to_seq {
            self.items.retain(|item| item.seq <= seq);
            let kept: HashSet<&String> = self.items.iter().map(|item| &item.turn_id).collect();
            self.turns.retain(|turn| kept.contains(&turn.turn_id));
            self.rewound.push(seq);
        }
        self.told += told.items.len();
        for item in told.items {
            match self.items.iter_mut().find(|known| known.seq == item.seq) {
                Some(known) => *known = item,
                None => self.items.push(item),
            }
        }
        self.items.sort_by_key(|item| item.seq);
        for turn in told.turns {
            match self.turns.iter_mut().find(|known| known.turn_id == turn.turn_id) {
                Some(known) => *known = turn,
                None => self.turns.push(turn),
            }
        }
        self.cursor = told.cursor;
        self.deleted = told.deleted;
        if let Some(thread) = told.thread {
            self.thread = thread;
        }
    }
}

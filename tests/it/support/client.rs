//! Calls as a client makes them: every RPC by its name, in one namespace, and the ones that most tests need in short.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sessiond::pb::client::engine_service_client::EngineServiceClient;
use sessiond::pb::client::fork_session_request::Point;
use sessiond::pb::client::session_service_client::SessionServiceClient;
use sessiond::pb::client::thread_service_client::ThreadServiceClient;
use sessiond::pb::client::{
    self as pb, Entry, Item, Message, MessageView, ResumeProgress, Session, Thread, Turn, TurnStatus,
};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::server::Server;
use super::wait::{DEADLINE, within};

/// A client in one namespace. It never raises its limit on what it receives: no page or stream message is to need that.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    namespace: String,
    channel: Channel,
    server: Option<Arc<Shared>>,
}

/// Keeps the server that tests share, and shows its log when this one fails.
#[derive(Debug)]
struct Shared(Arc<Server>);

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.show_log();
        }
    }
}

/// A name that nobody else has in this process.
pub(crate) fn fresh(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

macro_rules! calls {
    ($($service:ident { $($rpc:ident($request:ident) -> $response:ident;)+ })+) => {
        impl Client {$($(
            #[doc = concat!("Calls `", stringify!($request), "`; an empty namespace stands for the client's own.")]
            pub(crate) async fn $rpc(&self, mut request: pb::$request) -> Result<pb::$response, Status> {
                if request.namespace.is_empty() {
                    request.namespace.clone_from(&self.namespace);
                }
                let answer = self.$service().$rpc(request).await?;
                Ok(answer.into_inner())
            }
        )+)+}
    };
}

calls! {
    sessions {
        create_session(CreateSessionRequest) -> CreateSessionResponse;
        get_session(GetSessionRequest) -> GetSessionResponse;
        list_sessions(ListSessionsRequest) -> ListSessionsResponse;
        update_session(UpdateSessionRequest) -> UpdateSessionResponse;
        delete_session(DeleteSessionRequest) -> DeleteSessionResponse;
        undelete_session(UndeleteSessionRequest) -> UndeleteSessionResponse;
        prune_sessions(PruneSessionsRequest) -> PruneSessionsResponse;
        append_entries(AppendEntriesRequest) -> AppendEntriesResponse;
        list_entries(ListEntriesRequest) -> ListEntriesResponse;
        save_session(SaveSessionRequest) -> SaveSessionResponse;
        fork_session(ForkSessionRequest) -> ForkSessionResponse;
        rewind_session(RewindSessionRequest) -> RewindSessionResponse;
        list_revisions(ListRevisionsRequest) -> ListRevisionsResponse;
        get_session_tree(GetSessionTreeRequest) -> GetSessionTreeResponse;
        snapshot_from_engine(SnapshotFromEngineRequest) -> SnapshotFromEngineResponse;
        get_resume(GetResumeRequest) -> GetResumeResponse;
        cancel_resume(CancelResumeRequest) -> CancelResumeResponse;
        list_resumes(ListResumesRequest) -> ListResumesResponse;
        search_messages(SearchMessagesRequest) -> SearchMessagesResponse;
    }
    threads {
        create_thread(CreateThreadRequest) -> CreateThreadResponse;
        get_thread(GetThreadRequest) -> GetThreadResponse;
        list_threads(ListThreadsRequest) -> ListThreadsResponse;
        update_thread(UpdateThreadRequest) -> UpdateThreadResponse;
        delete_thread(DeleteThreadRequest) -> DeleteThreadResponse;
        start_turn(StartTurnRequest) -> StartTurnResponse;
        append_items(AppendItemsRequest) -> AppendItemsResponse;
        finish_turn(FinishTurnRequest) -> FinishTurnResponse;
        list_items(ListItemsRequest) -> ListItemsResponse;
    }
    engines {
        list_engines(ListEnginesRequest) -> ListEnginesResponse;
    }
}

impl Client {
    /// Connects to `address`, in a namespace that nobody else has.
    pub(crate) async fn connected(address: &str, server: Option<Arc<Server>>) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let endpoint = endpoint
            .connect_timeout(DEADLINE)
            .timeout(DEADLINE)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_while_idle(true);
        let channel = endpoint.connect().await.expect("the server can be reached");
        let server = server.map(|server| Arc::new(Shared(server)));
        Self {
            server,
            ..Self::over(channel)
        }
    }

    /// A client over a connection that stands, in a namespace that nobody else has.
    pub(crate) fn over(channel: Channel) -> Self {
        Self {
            namespace: fresh("t"),
            channel,
            server: None,
        }
    }

    /// The same client in another namespace.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..self.clone()
        }
    }

    /// Its namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its connection.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// SessionService as it is.
    pub(crate) fn sessions(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.channel.clone())
    }

    /// ThreadService as it is.
    pub(crate) fn threads(&self) -> ThreadServiceClient<Channel> {
        ThreadServiceClient::new(self.channel.clone())
    }

    /// EngineService as it is.
    pub(crate) fn engines(&self) -> EngineServiceClient<Channel> {
        EngineServiceClient::new(self.channel.clone())
    }

    /// The address of the shared server.
    pub(crate) fn address(&self) -> String {
        self.server
            .as_ref()
            .expect("of the shared server")
            .0
            .address()
            .to_owned()
    }

    /// Calls ReadMessages and reads to the end.
    pub(crate) async fn read_messages(
        &self,
        request: pb::ReadMessagesRequest,
    ) -> Result<Vec<Message>, Status> {
        let chunks = self.read_chunks(request).await?;
        Ok(chunks.into_iter().flatten().collect())
    }

    /// The same, each message of the stream by itself.
    pub(crate) async fn read_chunks(
        &self,
        mut request: pb::ReadMessagesRequest,
    ) -> Result<Vec<Vec<Message>>, Status> {
        if request.namespace.is_empty() {
            request.namespace.clone_from(&self.namespace);
        }
        let stream = self.sessions().read_messages(request).await?.into_inner();
        within(
            "a stream of messages ends",
            stream.map_ok(|answer| answer.messages).try_collect(),
        )
        .await
    }

    /// Makes a session.
    pub(crate) async fn create(&self, session: Session) -> Session {
        let session_id = Some(session.session_id.clone()).filter(|id| !id.is_empty());
        let request = pb::CreateSessionRequest {
            session_id,
            session: Some(session),
            ..Default::default()
        };
        self.create_session(request).await.unwrap().session.unwrap()
    }

    /// Makes a session without any facts; its id.
    pub(crate) async fn blank(&self) -> String {
        self.create(Session::default()).await.session_id
    }

    /// Makes a session that holds `messages`; its id.
    pub(crate) async fn holding(&self, messages: impl IntoIterator<Item = Message>) -> String {
        let id = self.blank().await;
        self.append(&id, super::build::entries(messages)).await;
        id
    }

    /// Reads a session.
    pub(crate) async fn session(&self, id: &str) -> Session {
        self.session_or(id).await.unwrap()
    }

    /// Reads a session that may not be there.
    pub(crate) async fn session_or(&self, id: &str) -> Result<Session, Status> {
        let request = pb::GetSessionRequest {
            session_id: id.into(),
            ..Default::default()
        };
        Ok(self.get_session(request).await?.session.unwrap())
    }

    /// Appends to a session.
    pub(crate) async fn append(&self, id: &str, entries: Vec<Entry>) -> pb::AppendEntriesResponse {
        self.append_or(id, entries).await.unwrap()
    }

    /// Appends to a session where that may be refused.
    pub(crate) async fn append_or(
        &self,
        id: &str,
        entries: Vec<Entry>,
    ) -> Result<pb::AppendEntriesResponse, Status> {
        let request = pb::AppendEntriesRequest {
            session_id: id.into(),
            entries,
            ..Default::default()
        };
        self.append_entries(request).await
    }

    /// The visible list.
    pub(crate) async fn messages(&self, id: &str) -> Vec<Message> {
        let request = pb::ReadMessagesRequest {
            session_id: id.into(),
            ..Default::default()
        };
        self.read_messages(request).await.unwrap()
    }

    /// What a model is sent.
    pub(crate) async fn context(&self, id: &str) -> Vec<Message> {
        let view = MessageView::Context.into();
        let request = pb::ReadMessagesRequest {
            session_id: id.into(),
            view,
            ..Default::default()
        };
        self.read_messages(request).await.unwrap()
    }

    /// Every entry, page by page.
    pub(crate) async fn entries(&self, id: &str) -> Vec<Entry> {
        let mut request = pb::ListEntriesRequest {
            session_id: id.into(),
            page_size: 500,
            ..Default::default()
        };
        let mut entries = Vec::new();
        loop {
            let page = self.list_entries(request.clone()).await.unwrap();
            entries.extend(page.entries);
            if page.next_page_token.is_empty() {
                return entries;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Forks a session.
    pub(crate) async fn fork(&self, id: &str, point: Point) -> pb::ForkSessionResponse {
        self.fork_or(id, point).await.unwrap()
    }

    /// Forks a session where that may be refused.
    pub(crate) async fn fork_or(&self, id: &str, point: Point) -> Result<pb::ForkSessionResponse, Status> {
        let request = pb::ForkSessionRequest {
            session_id: id.into(),
            point: Some(point),
            ..Default::default()
        };
        self.fork_session(request).await
    }

    /// Changes the fields of a session that `paths` name.
    pub(crate) async fn update_or(&self, session: Session, paths: &[&str]) -> Result<Session, Status> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let request = pb::UpdateSessionRequest {
            session: Some(session),
            update_mask: Some(prost_types::FieldMask { paths }),
            ..Default::default()
        };
        Ok(self.update_session(request).await?.session.unwrap())
    }

    /// Deletes a session, softly.
    pub(crate) async fn delete(&self, id: &str) -> Session {
        let request = pb::DeleteSessionRequest {
            session_id: id.into(),
            ..Default::default()
        };
        self.delete_session(request).await.unwrap().session.unwrap()
    }

    /// Every session that the filters let through, page by page.
    pub(crate) async fn listed(&self, mut request: pb::ListSessionsRequest) -> Vec<Session> {
        let mut sessions = Vec::new();
        loop {
            let page = self.list_sessions(request.clone()).await.unwrap();
            sessions.extend(page.sessions);
            if page.next_page_token.is_empty() {
                return sessions;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Makes a thread; its id.
    pub(crate) async fn open(&self, thread: Thread) -> String {
        let thread_id = Some(thread.thread_id.clone()).filter(|id| !id.is_empty());
        let request = pb::CreateThreadRequest {
            thread_id,
            thread: Some(thread),
            ..Default::default()
        };
        self.create_thread(request)
            .await
            .unwrap()
            .thread
            .unwrap()
            .thread_id
    }

    /// Reads a thread.
    pub(crate) async fn thread(&self, id: &str) -> Thread {
        let request = pb::GetThreadRequest {
            thread_id: id.into(),
            ..Default::default()
        };
        self.get_thread(request).await.unwrap().thread.unwrap()
    }

    /// Starts a turn; its id.
    pub(crate) async fn start(&self, thread: &str) -> String {
        self.start_or(thread).await.unwrap().turn_id
    }

    /// Starts a turn where that may be refused.
    pub(crate) async fn start_or(&self, thread: &str) -> Result<Turn, Status> {
        let request = pb::StartTurnRequest {
            thread_id: thread.into(),
            ..Default::default()
        };
        Ok(self.start_turn(request).await?.turn.unwrap())
    }

    /// Adds items to a turn.
    pub(crate) async fn add(&self, thread: &str, turn: &str, items: Vec<Item>) -> pb::AppendItemsResponse {
        self.add_or(thread, turn, items).await.unwrap()
    }

    /// Adds items to a turn where that may be refused.
    pub(crate) async fn add_or(
        &self,
        thread: &str,
        turn: &str,
        items: Vec<Item>,
    ) -> Result<pb::AppendItemsResponse, Status> {
        let (thread_id, turn_id) = (thread.into(), turn.into());
        let request = pb::AppendItemsRequest {
            thread_id,
            turn_id,
            items,
            ..Default::default()
        };
        self.append_items(request).await
    }

    /// Ends a turn.
    pub(crate) async fn finish(&self, thread: &str, turn: &str) -> Turn {
        self.finish_or(thread, turn, TurnStatus::Completed).await.unwrap()
    }

    /// Ends a turn where that may be refused.
    pub(crate) async fn finish_or(
        &self,
        thread: &str,
        turn: &str,
        status: TurnStatus,
    ) -> Result<Turn, Status> {
        let (thread_id, turn_id, status) = (thread.into(), turn.into(), status.into());
        let request = pb::FinishTurnRequest {
            thread_id,
            turn_id,
            status,
            ..Default::default()
        };
        Ok(self.finish_turn(request).await?.turn.unwrap())
    }

    /// A whole turn: started, filled and ended; its id.
    pub(crate) async fn turn(&self, thread: &str, items: Vec<Item>) -> String {
        let turn = self.start(thread).await;
        self.add(thread, &turn, items).await;
        self.finish(thread, &turn).await;
        turn
    }

    /// A new thread with one turn; its id.
    pub(crate) async fn running(&self, items: Vec<Item>) -> String {
        let thread = self.open(Thread::default()).await;
        self.turn(&thread, items).await;
        thread
    }

    /// Saves a thread.
    pub(crate) async fn save(&self, thread: &str) -> pb::SaveSessionResponse {
        self.save_or(thread).await.unwrap()
    }

    /// Saves a thread where that may be refused.
    pub(crate) async fn save_or(&self, thread: &str) -> Result<pb::SaveSessionResponse, Status> {
        let request = pb::SaveSessionRequest {
            thread_id: thread.into(),
            ..Default::default()
        };
        self.save_session(request).await
    }

    /// Resumes a session and follows it to its end: everything that was told.
    pub(crate) async fn resume_or(
        &self,
        mut request: pb::ResumeRequest,
    ) -> Result<Vec<ResumeProgress>, Status> {
        request.namespace.clone_from(&self.namespace);
        let stream = self.sessions().resume(request).await?.into_inner();
        let told = stream.map_ok(|answer| answer.progress.expect("a progress"));
        within("a resume ends", told.try_collect()).await
    }

    /// The end of a resume that asks for nothing in particular.
    pub(crate) async fn resume(&self, session: &str) -> ResumeProgress {
        let request = pb::ResumeRequest {
            session_id: session.into(),
            ..Default::default()
        };
        let mut told = self.resume_or(request).await.unwrap();
        told.pop().expect("at least the end")
    }

    /// Every item of a thread, page by page.
    pub(crate) async fn items(&self, thread: &str) -> Vec<Item> {
        let mut request = pb::ListItemsRequest {
            thread_id: thread.into(),
            page_size: 500,
            ..Default::default()
        };
        let mut items = Vec::new();
        loop {
            let page = self.list_items(request.clone()).await.unwrap();
            items.extend(page.items);
            if page.next_page_token.is_empty() {
                return items;
            }
            request.page_token = page.next_page_token;
        }
    }
}

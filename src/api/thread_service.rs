//! `sessiond.v1.ThreadService`.

use futures_util::StreamExt as _;
use tonic::{Request, Response, Status};

use crate::domain::{Seq, ThreadId, TurnId};
use crate::pb;
use crate::pb::thread_service_server::ThreadService;
use crate::service::watches::ThreadChange;

use super::convert::{item, thread};
use super::cursor::Watched;
use super::page_token::Paging;
use super::stream::Responses;
use super::{Threads, frame};

type Answer<R> = Result<Response<R>, Status>;

#[tonic::async_trait]
impl ThreadService for Threads {
    async fn create_thread(
        &self,
        request: Request<pb::CreateThreadRequest>,
    ) -> Answer<pb::CreateThreadResponse> {
        let (call, request) = frame::mutation(request)?;
        let epoch = request.epoch;
        let parsed = thread::create(request, self.service.limits());
        let (id, draft) = frame::checked(&self.service, &call, parsed).await?;
        let thread = self.service.create_thread(call, id, draft, epoch).await?;
        Ok(Response::new(pb::CreateThreadResponse {
            thread: Some((&*thread).into()),
        }))
    }

    async fn get_thread(&self, request: Request<pb::GetThreadRequest>) -> Answer<pb::GetThreadResponse> {
        let (ns, request) = frame::read(request)?;
        let id = ThreadId::parse(&request.thread_id, "thread_id")?;
        let thread = self.service.thread(&ns, &id).await?;
        Ok(Response::new(pb::GetThreadResponse {
            thread: Some((&*thread).into()),
        }))
    }

    async fn list_threads(
        &self,
        request: Request<pb::ListThreadsRequest>,
    ) -> Answer<pb::ListThreadsResponse> {
        let (ns, mut request) = frame::read(request)?;
        let paging = Paging::of(&ns, &mut request)?;
        let query = thread::query(ns, &request)?;
        let after = paging.after()?;
        let page = self.service.threads(&query, after.as_ref(), paging.bound).await?;
        Ok(Response::new(pb::ListThreadsResponse {
            threads: page.rows.iter().map(|thread| (&**thread).into()).collect(),
            next_page_token: paging.next(page.next.as_ref()),
        }))
    }

    async fn update_thread(
        &self,
        request: Request<pb::UpdateThreadRequest>,
    ) -> Answer<pb::UpdateThreadResponse> {
        let (call, request) = frame::mutation(request)?;
        let epoch = request.epoch;
        let parsed = thread::update(request, self.service.limits());
        let (id, change) = frame::checked(&self.service, &call, parsed).await?;
        let thread = self.service.update_thread(call, id, change, epoch).await?;
        Ok(Response::new(pb::UpdateThreadResponse {
            thread: Some((&*thread).into()),
        }))
    }

    async fn delete_thread(
        &self,
        request: Request<pb::DeleteThreadRequest>,
    ) -> Answer<pb::DeleteThreadResponse> {
        let (call, request) = frame::mutation(request)?;
        let parsed = ThreadId::parse(&request.thread_id, "thread_id");
        let id = frame::checked(&self.service, &call, parsed).await?;
        let gone = thread::gone(&call.namespace, &id);
        let thread = self.service.delete_thread(call, id, request.epoch).await?;
        let thread = thread.map_or(gone, |thread| (&*thread).into());
        Ok(Response::new(pb::DeleteThreadResponse { thread: Some(thread) }))
    }

    async fn start_turn(&self, request: Request<pb::StartTurnRequest>) -> Answer<pb::StartTurnResponse> {
        let (call, request) = frame::mutation(request)?;
        let parsed = thread::start(&request);
        let (id, turn) = frame::checked(&self.service, &call, parsed).await?;
        let turn = self.service.start_turn(call, id, turn, request.epoch).await?;
        Ok(Response::new(pb::StartTurnResponse {
            turn: Some((&turn).into()),
        }))
    }

    async fn append_items(
        &self,
        request: Request<pb::AppendItemsRequest>,
    ) -> Answer<pb::AppendItemsResponse> {
        let (call, request) = frame::mutation(request)?;
        let epoch = request.epoch;
        let service = self.service.clone();
        let parsed = frame::converted(request, move |request| item::append(request, &service)).await?;
        let (id, turn, items) = frame::checked(&self.service, &call, parsed).await?;
        let (first, last) = self.service.append_items(call, id, turn, items, epoch).await?;
        Ok(Response::new(pb::AppendItemsResponse {
            first_seq: first.0,
            last_seq: last.0,
        }))
    }

    async fn finish_turn(&self, request: Request<pb::FinishTurnRequest>) -> Answer<pb::FinishTurnResponse> {
        let (call, request) = frame::mutation(request)?;
        let epoch = request.epoch;
        let parsed = thread::finish(request);
        let thread::Finish {
            thread,
            turn,
            status,
            usage,
            error,
        } = frame::checked(&self.service, &call, parsed).await?;
        let turn = self
            .service
            .finish_turn(call, thread, turn, status, usage, error, epoch)
            .await?;
        Ok(Response::new(pb::FinishTurnResponse {
            turn: Some((&turn).into()),
        }))
    }

    async fn list_items(&self, request: Request<pb::ListItemsRequest>) -> Answer<pb::ListItemsResponse> {
        let (ns, mut request) = frame::read(request)?;
        let paging = Paging::of(&ns, &mut request)?;
        let id = ThreadId::parse(&request.thread_id, "thread_id")?;
        let turn = request
            .turn_id
            .map(|turn| TurnId::parse(&turn, "turn_id"))
            .transpose()?;
        let after = paging.after()?.or(request.after_seq.map(Seq));
        let page = self
            .service
            .list_items(&ns, &id, turn, after, paging.bound)
            .await?;
        Ok(Response::new(pb::ListItemsResponse {
            items: page.items.iter().map(item::to_pb).collect::<Result<_, _>>()?,
            turns: page.turns.iter().map(Into::into).collect(),
            next_page_token: paging.next(page.next.as_ref()),
        }))
    }

    type WatchThreadStream = Responses<pb::WatchThreadResponse>;

    async fn watch_thread(
        &self,
        request: Request<pb::WatchThreadRequest>,
    ) -> Answer<Self::WatchThreadStream> {
        let (ns, request) = frame::read(request)?;
        let id = ThreadId::parse(&request.thread_id, "thread_id")?;
        let watched = Watched::of("thread", &ns, id.as_str());
        let cursor = watched.place(request.cursor.as_deref())?;
        let changes = self.service.watch_thread(&ns, &id, cursor).await?;
        let changes = changes.map(move |change| thread_change(change?, watched));
        Ok(Response::new(changes.boxed()))
    }
}

fn thread_change(change: ThreadChange, watched: Watched) -> Result<pb::WatchThreadResponse, Status> {
    Ok(pb::WatchThreadResponse {
        items: change.items.iter().map(item::to_pb).collect::<Result<_, _>>()?,
        turns: change.turns.iter().map(Into::into).collect(),
        thread: change.thread.map(|thread| (&*thread).into()),
        rewound_to_seq: change.rewound_to.map(|seq| seq.0),
        deleted: change.deleted,
        cursor: watched.cursor(&change.cursor),
    })
}

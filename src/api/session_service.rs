//! `sessiond.v1.SessionService`.

use futures_util::stream::StreamExt as _;
use tonic::{Request, Response, Status, Streaming};

use crate::body::value;
use crate::domain::id::Revision;
use crate::domain::proposal::Deletion;
use crate::domain::{Namespace, Refusal, ResumeId, Seq, SessionId};
use crate::pb;
use crate::pb::session_service_server::SessionService;
use crate::service::transfer::Named;

use super::convert::{self, entry, fork, history, resume, retention, search, session, transfer};
use super::cursor::Watched;
use super::page_token::Paging;
use super::stream::{Responses, responses};
use super::{Sessions, frame, status};

type Answer<R> = Result<Response<R>, Status>;

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn create_session(
        &self,
        request: Request<pb::CreateSessionRequest>,
    ) -> Answer<pb::CreateSessionResponse> {
        let (call, request) = frame::mutation(request)?;
        let parsed = session::create(request, self.service.limits());
        let (id, draft) = frame::checked(&self.service, &call, parsed).await?;
        let session = self.service.create_session(call, id, draft).await?;
        Ok(Response::new(pb::CreateSessionResponse {
            session: Some((&*session).into()),
        }))
    }

    async fn get_session(&self, request: Request<pb::GetSessionRequest>) -> Answer<pb::GetSessionResponse> {
        let (ns, request) = frame::read(request)?;
        let id = SessionId::parse(&request.session_id, "session_id")?;
        let session = self
            .service
            .session(&ns, &id, request.revision.map(Revision))
            .await?;
        Ok(Response::new(pb::GetSessionResponse {
            session: Some((&*session).into()),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Answer<pb::ListSessionsResponse> {
        let (ns, mut request) = frame::read(request)?;
        let paging = Paging::of(&ns, &mut request)?;
        let query = session::query(ns, request)?;
        let after = paging.after()?;
        let page = self
            .service
            .sessions(&query, after.as_ref(), paging.bound)
            .await?;
        Ok(Response::new(pb::ListSessionsResponse {
            sessions: page.rows.iter().map(|session| (&**session).into()).collect(),
            next_page_token: paging.next(page.next.as_ref()),
        }))
    }

    async fn update_session(
        &self,
        request: Request<pb::UpdateSessionRequest>,
    ) -> Answer<pb::UpdateSessionResponse> {
        let (call, request) = frame::mutation(request)?;
        let parsed = session::update(request, self.service.limits());
        let (id, change, etag) = frame::checked(&self.service, &call, parsed).await?;
        let session = self.service.update_session(call, id, change, etag).await?;
        Ok(Response::new(pb::UpdateSessionResponse {
            session: Some((&*session).into()),
        }))
    }

    async fn delete_session(
        &self,
        request: Request<pb::DeleteSessionRequest>,
    ) -> Answer<pb::DeleteSessionResponse> {
        let (call, request) = frame::mutation(request)?;
        let parsed = SessionId::parse(&request.session_id, "session_id");
        let id = frame::checked(&self.service, &call, parsed).await?;
        let purge_after = self.service.limits().purge_after;
        let mode = if request.force {
            Deletion::Force
        } else {
            Deletion::Soft { purge_after }
        };
        let gone = session::gone(&call.namespace, &id);
        let session = self
            .service
            .delete_session(call, id, mode, convert::etag(request.etag))
            .await?;
        let session = session.map_or(gone, |session| (&*session).into());
        Ok(Response::new(pb::DeleteSessionResponse {
            session: Some(session),
        }))
    }

    async fn undelete_session(
        &self,
        request: Request<pb::UndeleteSessionRequest>,
    ) -> Answer<pb::UndeleteSessionResponse> {
        let (call, request) = frame::mutation(request)?;
        let parsed = SessionId::parse(&request.session_id, "session_id");
        let id = frame::checked(&self.service, &call, parsed).await?;
        let session = self.service.undelete_session(call, id).await?;
        Ok(Response::new(pb::UndeleteSessionResponse {
            session: Some((&*session).into()),
        }))
    }

    async fn append_entries(
        &self,
        request: Request<pb::AppendEntriesRequest>,
    ) -> Answer<pb::AppendEntriesResponse> {
        let (call, request) = frame::mutation(request)?;
        let service = self.service.clone();
        let parsed = frame::converted(request, move |request| entry::append(request, &service)).await?;
        let (id, entries, expected) = frame::checked(&self.service, &call, parsed).await?;
        let appended = self.service.append_entries(call, id, entries, expected).await?;
        Ok(Response::new(pb::AppendEntriesResponse {
            session: Some((&*appended.session).into()),
            first_seq: appended.first.0,
            last_seq: appended.last.0,
            entries_added: appended.added,
        }))
    }

    async fn list_entries(
        &self,
        request: Request<pb::ListEntriesRequest>,
    ) -> Answer<pb::ListEntriesResponse> {
        let (ns, mut request) = frame::read(request)?;
        let paging = Paging::of(&ns, &mut request)?;
        let id = SessionId::parse(&request.session_id, "session_id")?;
        let (revision, window) = (request.revision.map(Revision), entry::window(&request));
        let from: Option<Seq> = paging.after()?;
        let page = self
            .service
            .list_entries(&ns, &id, revision, window, from, paging.bound)
            .await?;
        Ok(Response::new(pb::ListEntriesResponse {
            next_page_token: paging.next(page.next.as_ref()),
            entries: page.rows.into_iter().map(Into::into).collect(),
        }))
    }

    type ReadMessagesStream = Responses<pb::ReadMessagesResponse>;

    async fn read_messages(
        &self,
        request: Request<pb::ReadMessagesRequest>,
    ) -> Answer<Self::ReadMessagesStream> {
        let (ns, request) = frame::read(request)?;
        let id = SessionId::parse(&request.session_id, "session_id")?;
        let messages = self.service.messages(&ns, &id, entry::read(&request)?).await?;
        Ok(responses(messages, |messages| pb::ReadMessagesResponse {
            messages,
        }))
    }

    async fn save_session(
        &self,
        request: Request<pb::SaveSessionRequest>,
    ) -> Answer<pb::SaveSessionResponse> {
        let (call, request) = frame::mutation(request)?;
        let parsed = fork::save(&request, self.service.limits());
        let save = frame::checked(&self.service, &call, parsed).await?;
        let saved = self.service.save_session(call, save).await?;
        Ok(Response::new(pb::SaveSessionResponse {
            session: Some((&*saved.session).into()),
            message_count: saved.message_count,
            created: saved.created,
        }))
    }

    async fn fork_session(
        &self,
        request: Request<pb::ForkSessionRequest>,
    ) -> Answer<pb::ForkSessionResponse> {
        let (call, request) = frame::mutation(request)?;
        let parsed = fork::fork(&request, self.service.limits());
        let fork = frame::checked(&self.service, &call, parsed).await?;
        let forked = self.service.fork_session(call, fork).await?;
        Ok(Response::new(pb::ForkSessionResponse {
            session: Some((&*forked.session).into()),
            removed_message: forked.removed,
        }))
    }

    async fn snapshot_from_engine(
        &self,
        request: Request<pb::SnapshotFromEngineRequest>,
    ) -> Answer<pb::SnapshotFromEngineResponse> {
        Ok(Response::new(self.snapshot_anywhere(request).await?))
    }

    type ResumeStream = Responses<pb::ResumeResponse>;

    async fn resume(&self, request: Request<pb::ResumeRequest>) -> Answer<Self::ResumeStream> {
        let (call, request) = frame::mutation(request)?;
        let parsed = resume::wish(request, self.service.limits());
        let (session, wish) = frame::checked(&self.service, &call, parsed).await?;
        let progress = self.service.resume(call, session, wish).await?;
        Ok(responses(progress, |resume| pb::ResumeResponse {
            progress: Some((&*resume).into()),
        }))
    }

    type WatchResumeStream = Responses<pb::WatchResumeResponse>;

    async fn watch_resume(
        &self,
        request: Request<pb::WatchResumeRequest>,
    ) -> Answer<Self::WatchResumeStream> {
        let (ns, request) = frame::read(request)?;
        let progress = self.service.watch_resume(&ns, &resume::target(&request)?).await?;
        Ok(responses(progress, |resume| pb::WatchResumeResponse {
            progress: Some((&*resume).into()),
        }))
    }

    async fn get_resume(&self, request: Request<pb::GetResumeRequest>) -> Answer<pb::GetResumeResponse> {
        let (ns, request) = frame::read(request)?;
        let id = ResumeId::parse(&request.resume_id, "resume_id")?;
        let resume = self.service.found_resume(&ns, &id).await?;
        Ok(Response::new(pb::GetResumeResponse {
            progress: Some((&*resume).into()),
        }))
    }

    async fn cancel_resume(
        &self,
        request: Request<pb::CancelResumeRequest>,
    ) -> Answer<pb::CancelResumeResponse> {
        let (call, request) = frame::mutation(request)?;
        let parsed = ResumeId::parse(&request.resume_id, "resume_id");
        let id = frame::checked(&self.service, &call, parsed).await?;
        let resume = self.service.cancel_resume(call, id).await?;
        Ok(Response::new(pb::CancelResumeResponse {
            progress: Some((&*resume).into()),
        }))
    }

    async fn list_resumes(
        &self,
        request: Request<pb::ListResumesRequest>,
    ) -> Answer<pb::ListResumesResponse> {
        let (ns, mut request) = frame::read(request)?;
        let paging = Paging::of(&ns, &mut request)?;
        let query = resume::query(ns, &request)?;
        let after = paging.after()?;
        let page = self.service.resumes(&query, after.as_ref(), paging.bound).await?;
        Ok(Response::new(pb::ListResumesResponse {
            resumes: page.rows.iter().map(|resume| (&**resume).into()).collect(),
            next_page_token: paging.next(page.next.as_ref()),
        }))
    }

    async fn prune_sessions(
        &self,
        request: Request<pb::PruneSessionsRequest>,
    ) -> Answer<pb::PruneSessionsResponse> {
        let (call, request) = frame::mutation(request)?;
        let parsed = retention::prune(&request);
        let wanted = frame::checked(&self.service, &call, parsed).await?;
        let pruned = self.service.prune_sessions(call, &wanted).await?;
        Ok(Response::new(pb::PruneSessionsResponse {
            session_ids: pruned.sessions.iter().map(ToString::to_string).collect(),
            count: pruned.count,
        }))
    }

    type ExportSessionStream = Responses<pb::ExportSessionResponse>;

    async fn export_session(
        &self,
        request: Request<pb::ExportSessionRequest>,
    ) -> Answer<Self::ExportSessionStream> {
        let (ns, request) = frame::read(request)?;
        let pieces = self
            .service
            .export_session(&ns, transfer::export(&request)?)
            .await?;
        Ok(responses(pieces, |chunk| pb::ExportSessionResponse { chunk }))
    }

    async fn import_session(
        &self,
        request: Request<Streaming<pb::ImportSessionRequest>>,
    ) -> Answer<pb::ImportSessionResponse> {
        let mut parts = request.into_inner();
        let first = parts.message().await?.unwrap_or_default();
        let (ns, named, header) = transfer::opening(first)?;
        let header = match transfer::header(&header) {
            Ok(header) => header,
            Err(refused) => return Err(self.refused(&ns, named, refused).await?),
        };
        let pieces = parts.map(|part| transfer::piece(part?));
        let imported = self.service.import_session(ns, named, header, pieces).await?;
        Ok(Response::new(imported.into()))
    }

    async fn rewind_session(
        &self,
        request: Request<pb::RewindSessionRequest>,
    ) -> Answer<pb::RewindSessionResponse> {
        let (call, request) = frame::mutation(request)?;
        let rewind = frame::checked(&self.service, &call, history::rewind(&request)).await?;
        let rewound = self.service.rewind_session(call, rewind).await?;
        Ok(Response::new(pb::RewindSessionResponse {
            session: Some((&*rewound.session).into()),
            removed: rewound.removed.into_iter().map(Into::into).collect(),
            removed_count: rewound.removed_count,
        }))
    }

    async fn list_revisions(
        &self,
        request: Request<pb::ListRevisionsRequest>,
    ) -> Answer<pb::ListRevisionsResponse> {
        let (ns, mut request) = frame::read(request)?;
        let paging = Paging::of(&ns, &mut request)?;
        let id = SessionId::parse(&request.session_id, "session_id")?;
        let page = self
            .service
            .revisions(&ns, &id, paging.after()?, paging.bound)
            .await?;
        Ok(Response::new(pb::ListRevisionsResponse {
            revisions: page.rows.iter().map(|head| (&**head).into()).collect(),
            next_page_token: paging.next(page.next.as_ref()),
        }))
    }

    async fn get_session_tree(
        &self,
        request: Request<pb::GetSessionTreeRequest>,
    ) -> Answer<pb::GetSessionTreeResponse> {
        let (ns, mut request) = frame::read(request)?;
        let paging = Paging::of(&ns, &mut request)?;
        let id = SessionId::parse(&request.session_id, "session_id")?;
        let after: Option<SessionId> = paging.after()?;
        let page = self
            .service
            .session_tree(&ns, &id, after.as_ref(), paging.bound)
            .await?;
        let page = page.ok_or_else(status::page_token_invalid)?;
        Ok(Response::new(pb::GetSessionTreeResponse {
            nodes: page.rows.iter().map(Into::into).collect(),
            next_page_token: paging.next(page.next.as_ref()),
        }))
    }

    type WatchSessionStream = Responses<pb::WatchSessionResponse>;

    async fn watch_session(
        &self,
        request: Request<pb::WatchSessionRequest>,
    ) -> Answer<Self::WatchSessionStream> {
        let (ns, request) = frame::read(request)?;
        let id = SessionId::parse(&request.session_id, "session_id")?;
        let watched = Watched::of("session", &ns, id.as_str());
        let cursor = watched.place(request.cursor.as_deref())?;
        let changes = self.service.watch_session(&ns, &id, cursor).await?;
        Ok(responses(changes, move |change| pb::WatchSessionResponse {
            entries: change.entries.into_iter().map(Into::into).collect(),
            session: change.session.map(|session| (&*session).into()),
            rewound_to_seq: change.rewound_to.map(|seq| seq.0),
            deleted: change.deleted,
            cursor: watched.cursor(&change.cursor),
        }))
    }

    async fn search_messages(
        &self,
        request: Request<pb::SearchMessagesRequest>,
    ) -> Answer<pb::SearchMessagesResponse> {
        if !self.service.searches() {
            return Err(status::unimplemented("SearchMessages"));
        }
        let (ns, mut request) = frame::read(request)?;
        let paging = Paging::of(&ns, &mut request)?;
        let search = search::search(&request)?;
        let after = paging.after()?;
        let hits = self.service.search(&ns, search, after, paging.bound.rows).await?;
        Ok(Response::new(pb::SearchMessagesResponse {
            next_page_token: paging.next(hits.page.next.as_ref()),
            hits: hits.page.rows.into_iter().map(Into::into).collect(),
            indexed_through: Some(value::timestamp(hits.indexed_through)),
        }))
    }
}

impl Sessions {
    /// An import whose header says no. A request_id is looked up before every other check, and no such import ever was.
    async fn refused(&self, ns: &Namespace, named: Option<Named>, refused: Status) -> Result<Status, Status> {
        let used = match named {
            Some(named) => self.service.is_used(ns, &named.id).await?,
            None => false,
        };
        Ok(if used {
            Refusal::RequestIdReused.into()
        } else {
            refused
        })
    }
}

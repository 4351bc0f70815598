//! Resumes: started, watched to their ends, and looked at.

use sessiond::pb::client::watch_resume_request::Target;
use tonic::{Status, Streaming};

use super::client::Client;
use super::pb;
use super::wait::{until, within};

/// A request to resume a session.
pub(crate) fn of_session(session_id: &str) -> pb::ResumeRequest {
    pb::ResumeRequest {
        session_id: session_id.into(),
        ..Default::default()
    }
}

/// The same, with an engine.
pub(crate) fn on_engine(session_id: &str, engine_id: &str) -> pb::ResumeRequest {
    pb::ResumeRequest {
        engine_id: Some(engine_id.into()),
        ..of_session(session_id)
    }
}

/// Whether a state is one that nothing comes after.
pub(crate) fn is_end(state: pb::ResumeState) -> bool {
    match state {
        pb::ResumeState::Ready | pb::ResumeState::Failed | pb::ResumeState::Canceled => true,
        pb::ResumeState::Unspecified | pb::ResumeState::Queued | pb::ResumeState::Seeding => false,
    }
}

/// Everything that is left of a stream, checked: nothing goes back, and the end comes once and last.
async fn all(
    mut next: impl AsyncFnMut() -> Result<Option<pb::ResumeProgress>, Status>,
) -> Vec<pb::ResumeProgress> {
    let mut seen: Vec<pb::ResumeProgress> = Vec::new();
    while let Some(progress) = within("progress or the end", next())
        .await
        .expect("a stream that ends OK")
    {
        if let Some(last) = seen.last() {
            assert!(!is_end(last.state()), "something after the end: {progress:?}");
            let before = (last.attempt, last.state() as i32);
            let now = (progress.attempt, progress.state() as i32);
            assert!(
                before.0 <= now.0 && before.1 <= now.1,
                "{last:?} and then {progress:?}"
            );
        }
        seen.push(progress);
    }
    let end = seen.last().expect("something to see");
    assert!(is_end(end.state()), "the stream ended before the resume: {end:?}");
    assert!(end.end_time.is_some(), "{end:?}");
    assert_eq!(
        end.error.is_some(),
        end.state() == pb::ResumeState::Failed,
        "{end:?}"
    );
    seen
}

impl Client {
    /// Starts a resume; its progress.
    pub(crate) async fn resume_stream(
        &self,
        mut request: pb::ResumeRequest,
    ) -> Result<Streaming<pb::ResumeResponse>, Status> {
        self.namespace().clone_into(&mut request.namespace);
        Ok(self.sessions().resume(request).await?.into_inner())
    }

    /// Starts a resume; the first that is said of it.
    pub(crate) async fn resuming(&self, request: pb::ResumeRequest) -> pb::ResumeProgress {
        let mut stream = self.resume_stream(request).await.expect("it is begun");
        let first = within("the first progress", stream.message()).await;
        first
            .expect("a message")
            .and_then(|first| first.progress)
            .expect("progress")
    }

    /// Starts a resume, and sees it to its end.
    pub(crate) async fn resumed(&self, request: pb::ResumeRequest) -> Vec<pb::ResumeProgress> {
        let mut stream = self.resume_stream(request).await.expect("it is begun");
        all(async || Ok(stream.message().await?.and_then(|next| next.progress))).await
    }

    /// Watches a resume or the last one into a thread.
    pub(crate) async fn watch_or(
        &self,
        target: Target,
    ) -> Result<Streaming<pb::WatchResumeResponse>, Status> {
        let request = pb::WatchResumeRequest {
            namespace: self.namespace().into(),
            target: Some(target),
        };
        Ok(self.sessions().watch_resume(request).await?.into_inner())
    }

    /// Watches to the end.
    pub(crate) async fn watched(&self, target: Target) -> Vec<pb::ResumeProgress> {
        let mut stream = self.watch_or(target).await.expect("it can be watched");
        all(async || Ok(stream.message().await?.and_then(|next| next.progress))).await
    }

    /// The end of a resume.
    pub(crate) async fn end_of(&self, resume_id: &str) -> pb::ResumeProgress {
        let seen = self.watched(Target::ResumeId(resume_id.into())).await;
        seen.into_iter().last().expect("an end")
    }

    /// A resume as it stands.
    pub(crate) async fn progress(&self, resume_id: &str) -> pb::ResumeProgress {
        let request = pb::GetResumeRequest {
            resume_id: resume_id.into(),
            ..Default::default()
        };
        let found = self.get_resume(request).await.expect("it is there");
        found.progress.expect("progress")
    }

    /// Waits until so many messages of a resume are written.
    pub(crate) async fn written(&self, resume_id: &str, items: u64) {
        until("messages are written", async || {
            let progress = self.progress(resume_id).await;
            (progress.items_written == items).then_some(())
        })
        .await;
    }

    /// Calls a resume off.
    pub(crate) async fn cancel(&self, resume_id: &str) -> pb::ResumeProgress {
        let request = pb::CancelResumeRequest {
            resume_id: resume_id.into(),
            ..Default::default()
        };
        let canceled = self.cancel_resume(request).await.expect("it is there");
        canceled.progress.expect("progress")
    }

    /// Every resume of a session, the newest first.
    pub(crate) async fn resumes_of(&self, session_id: &str) -> Vec<pb::ResumeProgress> {
        let request = pb::ListResumesRequest {
            session_id: Some(session_id.into()),
            page_size: 500,
            ..Default::default()
        };
        self.list_resumes(request).await.expect("they are listed").resumes
    }

    /// The threads of the namespace, one page of them.
    pub(crate) async fn all_threads(&self) -> Vec<pb::Thread> {
        let request = pb::ListThreadsRequest {
            page_size: 500,
            ..Default::default()
        };
        self.list_threads(request).await.expect("they are listed").threads
    }
}

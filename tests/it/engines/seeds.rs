//! Seeds as an engine gets them, frame by frame, played by hand: what it acknowledged is not sent again.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::support::build::{assistant, user};
use crate::support::pb::attach_request::Frame as Up;
use crate::support::pb::attach_response::Frame as Down;
use crate::support::pb::engine_service_client::EngineServiceClient;
use crate::support::pb::{self, ResumeProgress, ResumeState};
use crate::support::{Client, Status, shared, until, within};

/// One attachment, spoken by hand.
struct Line {
    up: mpsc::Sender<pb::AttachRequest>,
    down: Streaming<pb::AttachResponse>,
}

impl Line {
    async fn attach(client: &Client) -> Self {
        let (up, frames) = mpsc::channel(16);
        let hello = pb::Hello {
            namespace: client.namespace().into(),
            engine_id: "e".into(),
            accepts_resume: true,
            ..Default::default()
        };
        let first = pb::AttachRequest {
            frame: Some(Up::Hello(hello)),
        };
        up.send(first).await.unwrap();
        let mut engines = EngineServiceClient::new(client.channel());
        let down = engines
            .attach(ReceiverStream::new(frames))
            .await
            .unwrap()
            .into_inner();
        let mut line = Self { up, down };
        assert!(matches!(line.hear().await, Down::Welcome(_)));
        line
    }

    async fn hear(&mut self) -> Down {
        let frame = within("a frame", self.down.message()).await.unwrap();
        frame.expect("the stream goes on").frame.unwrap()
    }

    async fn say(&self, frame: Up) {
        let frame = pb::AttachRequest { frame: Some(frame) };
        self.up.send(frame).await.unwrap();
    }

    async fn begun(&mut self) -> pb::SeedBegin {
        match self.hear().await {
            Down::SeedBegin(begin) => begin,
            other => panic!("{other:?}"),
        }
    }

    async fn batch(&mut self) -> pb::SeedBatch {
        match self.hear().await {
            Down::SeedBatch(batch) => batch,
            other => panic!("{other:?}"),
        }
    }

    async fn ack(&self, seed_id: &str, items: u64) {
        let seed_id = seed_id.to_owned();
        self.say(Up::SeedAck(pb::SeedAck { seed_id, items })).await;
    }
}

/// A session of this many turns, and its resume into the engine on its way.
async fn resuming(
    client: &Client,
    turns: usize,
) -> (
    String,
    tokio::task::JoinHandle<Result<Vec<ResumeProgress>, Status>>,
) {
    let said = (0..turns).flat_map(|number| [user(&number.to_string()), assistant("so")]);
    let session_id = client.holding(said).await;
    let request = pb::ResumeRequest {
        session_id: session_id.clone(),
        engine_id: Some("e".into()),
        ..Default::default()
    };
    let client = client.clone();
    (
        session_id,
        tokio::spawn(async move { client.resume_or(request).await }),
    )
}

async fn end(resume: tokio::task::JoinHandle<Result<Vec<ResumeProgress>, Status>>) -> Vec<ResumeProgress> {
    let told = within("the resume ends", resume).await.unwrap().unwrap();
    assert!(told.is_sorted_by_key(|progress| progress.items_written));
    told
}

#[tokio::test]
async fn a_seed_goes_on_where_it_was_acknowledged() {
    let client = shared().await;
    let mut line = Line::attach(&client).await;
    let (session_id, resume) = resuming(&client, 125).await;
    let begin = line.begun().await;
    assert_eq!(begin.items_total, 250);
    let thread = begin.thread.clone().unwrap();
    assert_eq!(thread.session_id, session_id);
    let first = line.batch().await;
    assert_eq!((first.first_index, first.messages.len()), (0, 100));
    line.ack(&begin.seed_id, 100).await;
    until("the acknowledgement is written down", || async {
        let request = pb::ListResumesRequest {
            namespace: client.namespace().into(),
            ..Default::default()
        };
        let listed = client
            .sessions()
            .list_resumes(request)
            .await
            .unwrap()
            .into_inner();
        (listed.resumes[0].items_written == 100).then_some(())
    })
    .await;
    drop(line);

    let mut line = Line::attach(&client).await;
    let again = line.begun().await;
    assert_eq!((&again.seed_id, again.items_total), (&begin.seed_id, 250));
    let mut messages = first.messages;
    while messages.len() < 250 {
        let batch = line.batch().await;
        assert_eq!(batch.first_index, i64::try_from(messages.len()).unwrap());
        messages.extend(batch.messages);
    }
    assert_eq!(messages, client.context(&session_id).await);
    line.ack(&begin.seed_id, 250).await;
    assert!(matches!(line.hear().await, Down::SeedCommit(commit) if commit.seed_id == begin.seed_id));
    let told = end(resume).await;
    let last = told.last().unwrap();
    assert_eq!(
        (last.state(), last.attempt, last.items_written),
        (ResumeState::Ready, 2, 250)
    );
    assert_eq!(last.thread_id, thread.thread_id);
    assert_eq!(client.thread(&last.thread_id).await.engine_id, "e");
}

#[tokio::test]
async fn an_engine_that_gives_up_or_lies_ends_the_resume() {
    let client = shared().await;
    let mut line = Line::attach(&client).await;
    for lies in [false, true] {
        let (_, resume) = resuming(&client, 1).await;
        let begin = line.begun().await;
        line.batch().await;
        if lies {
            line.ack(&begin.seed_id, 3).await;
        } else {
            let error = tonic_types::pb::Status {
                code: 8,
                message: "no memory left".into(),
                details: Vec::new(),
            };
            let seed_id = begin.seed_id.clone();
            line.say(Up::SeedFailed(pb::SeedFailed {
                seed_id,
                error: Some(error),
            }))
            .await;
        }
        let told = end(resume).await;
        let last = told.last().unwrap();
        assert_eq!(last.state(), ResumeState::Failed);
        let error = last.error.clone().expect("why it failed");
        assert!(
            lies || (error.code == 8 && error.message == "no memory left"),
            "{error:?}"
        );
        let thread = pb::GetThreadRequest {
            thread_id: last.thread_id.clone(),
            ..Default::default()
        };
        assert!(client.get_thread(thread).await.is_err(), "nothing is left of it");
        assert!(matches!(line.hear().await, Down::SeedCancel(cancel) if cancel.seed_id == begin.seed_id));
    }
}

#[tokio::test]
async fn a_resume_that_is_called_off_is_forgotten() {
    let client = shared().await;
    let mut line = Line::attach(&client).await;
    let (_, resume) = resuming(&client, 1).await;
    let begin = line.begun().await;
    line.batch().await;
    let resume_id = begin.seed_id.split(':').next().unwrap().to_owned();
    let request = pb::CancelResumeRequest {
        namespace: client.namespace().into(),
        resume_id,
        ..Default::default()
    };
    client.sessions().cancel_resume(request).await.unwrap();
    let told = end(resume).await;
    assert_eq!(told.last().unwrap().state(), ResumeState::Canceled);
    assert!(matches!(line.hear().await, Down::SeedCancel(cancel) if cancel.seed_id == begin.seed_id));
}

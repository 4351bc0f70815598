//! `resume`, `watch`, `resumes` and `cancel`: seeding sessions into threads, watched while it runs.

use std::collections::BTreeMap;
use std::io::Write as _;

use clap::{Args, ValueEnum};
use tonic::Streaming;

use super::error::Error;
use super::pick::{self, Pick, Scope};
use super::progress::{Progress, state};
use super::remote::Remote;
use super::table::{self, Column};
use super::term::Screen;
use super::{json, when};
use crate::client::request_id;
use crate::pb::client::{self as pb, ResumeState};

/// Resumes listed in one page.
const PAGE_MAX: usize = 500;

/// Seed a session into a thread that goes on with it, and watch how far it is.
///
/// Without --engine, --label or --require-engine any attached engine that takes sessions will do, and without one the
/// service's own journal. Ctrl-C stops watching, not the resume.
#[derive(Args, Debug)]
pub(crate) struct Resume {
    #[command(flatten)]
    remote: Remote,
    /// The session: its id, the beginning of it, or -1 for the newest.
    #[arg(value_name = "ID", allow_negative_numbers = true)]
    session: Pick,
    /// The engine to seed.
    #[arg(long, short, value_name = "ID")]
    engine: Option<String>,
    /// A label that the engine must have; may be given more than once.
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = super::sessions::label)]
    label: Vec<(String, String)>,
    /// Fail if no engine is attached that takes the session.
    #[arg(long)]
    require_engine: bool,
    /// The model to go on with, instead of the session's.
    #[arg(long)]
    model: Option<String>,
    /// The mode to go on in, instead of the session's.
    #[arg(long)]
    mode: Option<String>,
    /// The task type to go on with, instead of the session's.
    #[arg(long)]
    task_type: Option<String>,
}

/// Watch a resume until it ends.
#[derive(Args, Debug)]
pub(crate) struct Watch {
    #[command(flatten)]
    remote: Remote,
    /// The resume: its id, the beginning of it, or -1 for the newest.
    #[arg(value_name = "RESUME", allow_negative_numbers = true)]
    resume: Pick,
}

/// List resumes, the newest first; they are kept for a day after their end.
#[derive(Args, Debug)]
pub(crate) struct Resumes {
    #[command(flatten)]
    remote: Remote,
    /// Only those of the session with this id.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only those in this state; may be given more than once.
    #[arg(long, value_enum)]
    state: Vec<State>,
}

/// Call a resume off.
#[derive(Args, Debug)]
pub(crate) struct Cancel {
    #[command(flatten)]
    remote: Remote,
    /// The resume: its id, the beginning of it, or -1 for the newest.
    #[arg(value_name = "RESUME", allow_negative_numbers = true)]
    resume: Pick,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Queued,
    Seeding,
    Ready,
    Failed,
    Canceled,
}

impl From<State> for ResumeState {
    fn from(state: State) -> Self {
        match state {
            State::Queued => Self::Queued,
            State::Seeding => Self::Seeding,
            State::Ready => Self::Ready,
            State::Failed => Self::Failed,
            State::Canceled => Self::Canceled,
        }
    }
}

impl Resume {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let session = pick::session(&client, &self.session, Scope::Living).await?;
        let request = pb::ResumeRequest {
            namespace: client.namespace(),
            session_id: session.session_id,
            model: self.model,
            mode: self.mode,
            task_type: self.task_type,
            engine_id: self.engine,
            engine_labels: self.label.into_iter().collect::<BTreeMap<_, _>>(),
            require_engine: self.require_engine,
            request_id: request_id(),
        };
        let stream = client.sessions().resume(request).await?.into_inner();
        follow(screen, self.remote.json, stream, |response| response.progress).await
    }
}

impl Watch {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let resume = pick::resume(&client, &self.resume).await?;
        let request = pb::WatchResumeRequest {
            namespace: client.namespace(),
            target: Some(pb::watch_resume_request::Target::ResumeId(resume.resume_id)),
        };
        let stream = client.sessions().watch_resume(request).await?.into_inner();
        follow(screen, self.remote.json, stream, |response| response.progress).await
    }
}

/// Shows progress as it comes; a resume that fails is an error of the command.
async fn follow<R>(
    screen: &mut Screen,
    as_json: bool,
    mut stream: Streaming<R>,
    progress: impl Fn(R) -> Option<pb::ResumeProgress>,
) -> Result<(), Error> {
    let mut shown = Progress::new(screen.look);
    let mut last = pb::ResumeProgress::default();
    while let Some(response) = stream.message().await? {
        last = progress(response).unwrap_or_default();
        if as_json {
            json::print(screen, &json::value(&last)?)?;
            screen.flush()?;
        } else {
            shown.show(screen, &last)?;
        }
    }
    shown.end();
    match last.state() {
        ResumeState::Failed => {
            let error = last.error.unwrap_or_default();
            Err(Error::Answer(format!("the resume failed: {}", error.message)))
        }
        ResumeState::Canceled => Err(Error::Answer("the resume was canceled".into())),
        ResumeState::Ready if as_json => Ok(()),
        ResumeState::Ready => {
            writeln!(screen, "{}", screen.look.bold(&last.thread_id))?;
            let place = match last.engine_id.as_str() {
                "" => "in the service's own journal".to_owned(),
                engine => format!("on engine {engine}"),
            };
            let how = if last.reused {
                "was there already"
            } else {
                "is ready"
            };
            writeln!(
                screen,
                "{}",
                screen.look.dim(&format!("the thread {how}, {place}"))
            )?;
            Ok(())
        }
        ResumeState::Queued | ResumeState::Seeding | ResumeState::Unspecified => Err(Error::Answer(format!(
            "the stream ended while the resume is {}",
            state(&last)
        ))),
    }
}

impl Resumes {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let request = pb::ListResumesRequest {
            session_id: self.session,
            states: self
                .state
                .into_iter()
                .map(|state| ResumeState::from(state).into())
                .collect(),
            ..Default::default()
        };
        let resumes = pick::resumes(&client, request, PAGE_MAX).await?;
        if self.remote.json {
            return Ok(json::print(screen, &json::values(&resumes)?)?);
        }
        if resumes.is_empty() {
            writeln!(screen, "no resumes")?;
            return Ok(());
        }
        let (now, look) = (when::now(), screen.look);
        let rows: Vec<Vec<String>> = resumes
            .iter()
            .map(|resume| {
                vec![
                    resume.resume_id.clone(),
                    state(resume).to_owned(),
                    format!("{}/{}", resume.items_written, resume.items_total),
                    resume.attempt.to_string(),
                    when::ago(now, resume.create_time.as_ref()),
                    resume.session_id.clone(),
                    resume.thread_id.clone(),
                    resume.engine_id.clone(),
                ]
            })
            .collect();
        let columns = [
            Column::Text("ID"),
            Column::Text("STATE"),
            Column::Number("MESSAGES"),
            Column::Number("ATTEMPT"),
            Column::Text("ASKED"),
            Column::Text("SESSION"),
            Column::Text("THREAD"),
            Column::Text("ENGINE"),
        ];
        Ok(table::print(screen, look, &columns, &rows)?)
    }
}

impl Cancel {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let resume = pick::resume(&client, &self.resume).await?;
        let request = pb::CancelResumeRequest {
            namespace: client.namespace(),
            resume_id: resume.resume_id,
            request_id: request_id(),
        };
        let answer = client.sessions().cancel_resume(request).await?.into_inner();
        let progress = answer.progress.unwrap_or_default();
        if self.remote.json {
            return Ok(json::print(screen, &json::value(&progress)?)?);
        }
        writeln!(screen, "{} is {}", progress.resume_id, state(&progress))?;
        Ok(())
    }
}

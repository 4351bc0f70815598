//! `demo`: a server of its own, a real conversation played into it as a live thread, saved after every turn, read back,
//! forked; then the same in a live engine, which is asked for snapshots, and a fork resumed into a second one; and for
//! every step the command that repeats it by hand.
//!
//! Nothing is pretended: the server is the one that `serve` runs, all of it goes over the wire, and what comes back is
//! compared with what was played. A difference is an error.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, path::Path};

use clap::Args;

use super::append::said;
use super::error::Error;
use super::message::is_user;
use super::pick::Scope;
use super::sessions;
use super::show::Reading;
use super::term::Screen;
use crate::client::play::{Player, Script, expect, openai};
use crate::client::{Client, request_id};
use crate::pb::client::fork_session_request::Point;
use crate::pb::client::{self as pb, MessageView, Role};
use crate::shutdown::Requests;

mod engines;
mod host;
mod story;

use host::Host;
use story::Story;

/// The conversation that is played unless another is given.
const BUNDLED: &str = include_str!("../../assets/demo.jsonl");
/// The largest file of conversations.
const INPUT_BYTES_MAX: u64 = 1 << 30;

/// Start a server, play a conversation into it, and show what it keeps.
///
/// Without --data everything is in a temporary folder that goes away at the end. Stays up until Ctrl-C.
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// The folder to keep the data in, instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A file of conversations in OpenAI's chat form to play instead: one {id, model, messages} a line.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:50551, or any free port if that is taken]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// End when the story is told.
    #[arg(long)]
    exit: bool,
}

impl Demo {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let scripts = scripts(self.input.as_deref())?;
        let mut requests = Requests::listen()?;
        let host = Host::start(self.data, self.listen).await?;
        let told = tokio::select! {
            told = tell(screen, &host, scripts) => told.map(|()| !self.exit),
            // Whoever ends it in mid-story has heard enough.
            _ = requests.next() => Ok(false),
        };
        if let Ok(true) = told {
            Story::new(screen, &host).stays()?;
            requests.next().await;
        }
        host.stop().await;
        told.map(drop)
    }
}

fn scripts(input: Option<&Path>) -> Result<Vec<Script>, Error> {
    let text = match input {
        Some(file) => {
            let unreadable = |error| Error::unreadable(file, &error);
            if fs::metadata(file).map_err(unreadable)?.len() > INPUT_BYTES_MAX {
                return Err(Error::Input(format!("{} is larger than 1 GiB", file.display())));
            }
            fs::read_to_string(file).map_err(unreadable)?
        }
        None => BUNDLED.to_owned(),
    };
    let scripts: Vec<Script> = openai::scripts(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Input(format!("{:#}", anyhow::Error::new(error))))?;
    if scripts.is_empty() {
        return Err(Error::Input("there is no conversation in that file".into()));
    }
    Ok(scripts)
}

/// Tells the story with the first conversation; the others are played, saved and compared in a line each.
async fn tell(screen: &mut Screen, host: &Host, scripts: Vec<Script>) -> Result<(), Error> {
    let client = Client::connect(host.address(), "").await?;
    let mut story = Story::new(screen, host);
    let mut scripts = scripts.into_iter();
    story.server()?;
    let Some(script) = scripts.next() else {
        return Ok(());
    };
    let session = live(&mut story, &client, script.clone()).await?;
    fork(&mut story, &client, &session).await?;
    engines::tell(&mut story, &client, script).await?;
    for script in scripts {
        let id = script.id.clone();
        let mut player = open(&client, script).await?;
        player.turns().await?;
        if player.expected().is_empty() {
            continue;
        }
        let session = player.save(None).await?.session.unwrap_or_default();
        read_back(&client, &player, &session).await?;
        story.also_played(&id, &session)?;
    }
    let wanted = pb::ListSessionsRequest {
        states: Scope::Living.states(),
        ..Default::default()
    };
    let (all, _) = sessions::list(&client, wanted, 20).await?;
    story.list(&all)
}

/// Plays a script turn by turn, saves after every turn, and reads everything back.
async fn live(story: &mut Story<'_>, client: &Client, script: Script) -> Result<pb::Session, Error> {
    story.opening(&script)?;
    let mut player = open(client, script).await?;
    let mut saved = pb::SaveSessionResponse::default();
    while let Some(turn) = player.turn().await?.cloned() {
        if !player.expected().is_empty() {
            saved = player.save(None).await?;
        }
        story.turn(player.played().len(), &turn, saved.message_count)?;
    }
    let Some(session) = saved.session else {
        return Err(Error::Input(
            "nobody says anything in the first conversation".into(),
        ));
    };
    story.by_hand(player.thread())?;
    let read = read_back(client, &player, &session).await?;
    story.read_back(&session, &read)?;
    Ok(session)
}

async fn open(client: &Client, script: Script) -> Result<Player, Error> {
    Ok(Player::open(client, script, pb::Thread::default(), Duration::ZERO).await?)
}

/// Reads a session in both views; what comes back must be what was played.
async fn read_back(
    client: &Client,
    player: &Player,
    session: &pb::Session,
) -> Result<Vec<pb::Message>, Error> {
    let expected = player.expected();
    let visible = messages(client, session, MessageView::Visible).await?;
    let context = messages(client, session, MessageView::Context).await?;
    for read in [&visible, &context] {
        let differences = expect::differences(&expected, read);
        if let Some(first) = differences.first() {
            let count = differences.len();
            return Err(Error::Answer(format!(
                "what came back is not what was played ({count} differences): {first}"
            )));
        }
    }
    Ok(visible)
}

/// Forks before the user message in the middle, asks something else there, and looks at the parent again.
async fn fork(story: &mut Story<'_>, client: &Client, parent: &pb::Session) -> Result<(), Error> {
    let read = messages(client, parent, MessageView::Visible).await?;
    let users = read.iter().filter(|message| is_user(message)).count();
    if users == 0 {
        return Ok(());
    }
    let number = users / 2;
    let request = pb::ForkSessionRequest {
        namespace: client.namespace(),
        session_id: parent.session_id.clone(),
        point: Some(Point::UserMessageIndex(i64::try_from(number).unwrap_or_default())),
        request_id: request_id(),
        ..Default::default()
    };
    let answer = client.sessions().fork_session(request).await?.into_inner();
    let fork = answer.session.unwrap_or_default();
    let request = pb::AppendEntriesRequest {
        namespace: client.namespace(),
        session_id: fork.session_id.clone(),
        entries: vec![said(Role::User, story::ASKED_INSTEAD)],
        request_id: request_id(),
        ..Default::default()
    };
    client.sessions().append_entries(request).await?;
    if messages(client, parent, MessageView::Visible).await? != read {
        return Err(Error::Answer(
            "the parent is not what it was before the fork".into(),
        ));
    }
    story.fork(parent, &fork, number, &answer.removed_message.unwrap_or_default())
}

async fn messages(
    client: &Client,
    session: &pb::Session,
    view: MessageView,
) -> Result<Vec<pb::Message>, Error> {
    Reading::open(client, &session.session_id, view, None)
        .await?
        .all()
        .await
}

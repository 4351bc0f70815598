//! `demo`: a server of its own, a real conversation played into it as a live thread, saved after every turn, read back,
//! forked; and for every step the command that repeats it by hand.
//!
//! Nothing is pretended: the server is the one that `serve` runs, all of it goes over the wire, and what comes back is
//! compared with what was played. A difference is an error.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, path::Path};

use clap::Args;

use super::error::Error;
use super::pick::Scope;
use super::sessions;
use super::term::Screen;
use crate::client::Client;
use crate::client::play::{Player, Script, openai};
use crate::pb::client as pb;
use crate::shutdown::Requests;

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
            told = tell(screen, &host, scripts, !self.exit) => told,
            _ = requests.next() => Ok(()),
        };
        if told.is_ok() && !self.exit {
            requests.next().await;
        }
        host.stop().await;
        told
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
        .map_err(|error| Error::Input(format!("{error}: {}", error.reason())))?;
    if scripts.is_empty() {
        return Err(Error::Input("there is no conversation in that file".into()));
    }
    Ok(scripts)
}

/// Tells the story with the first conversation; the others are played, saved and compared in a line each.
async fn tell(screen: &mut Screen, host: &Host, scripts: Vec<Script>, stays: bool) -> Result<(), Error> {
    let client = Client::connect(host.address(), "").await?;
    let mut story = Story::new(screen, host);
    let mut scripts = scripts.into_iter();
    story.server()?;
    let session = match scripts.next() {
        Some(script) => live(&mut story, &client, script).await?,
        None => return Ok(()),
    };
    story.fork(&client, &session).await?;
    for script in scripts {
        let id = script.id.clone();
        let mut player = open(&client, script).await?;
        player.turns().await?;
        let session = player.save(None).await?.session.unwrap_or_default();
        story.compare(&client, &player, &session, false).await?;
        story.also_played(&id, &session)?;
    }
    let wanted = pb::ListSessionsRequest {
        states: Scope::Living.states(),
        ..Default::default()
    };
    let (all, _) = sessions::list(&client, wanted, 20).await?;
    story.list(&all)?;
    story.end(stays)
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
    let session = saved.session.unwrap_or_default();
    story.by_hand(player.thread(), player.played().first())?;
    story.compare(client, &player, &session, true).await?;
    Ok(session)
}

async fn open(client: &Client, script: Script) -> Result<Player, Error> {
    Ok(Player::open(client, script, pb::Thread::default(), Duration::ZERO).await?)
}

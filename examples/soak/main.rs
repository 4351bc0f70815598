//! Plays every conversation of a file as a live thread, saves it after every turn, forks it before every user message,
//! reads everything back in both views, and compares it field by field with what was played. Then the same through
//! engines: see `live.rs`.
//!
//! ```text
//! cargo run --release --example soak -- FILE [--jobs N] [--data DIR]
//! ```
//!
//! FILE holds conversations in OpenAI's chat form, one `{id, model, messages}` a line; SESSIOND_SOAK may name it too.
//! The server is a process of its own, made of this executable, on a temporary folder unless `--data` names another.
//! Says how far it is every 20 conversations, and ends with exit code 1 if anything differs.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use futures_util::stream::{self, StreamExt as _};
use sessiond::client::play::{Player, Script, expect, openai};
use sessiond::client::{Client, Failure, request_id};
use sessiond::pb::client::content_block::Block;
use sessiond::pb::client::fork_session_request::Point;
use sessiond::pb::client::{self as pb, MessageView, Role};

mod live;

use live::Engines;

/// How long a server may take to be ready.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// Differences that are printed.
const PRINTED_MAX: usize = 20;

#[derive(Parser)]
struct Soak {
    /// Conversations in OpenAI's chat form, one a line.
    #[arg(env = "SESSIOND_SOAK")]
    file: PathBuf,
    /// Conversations that are played at the same time.
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// The folder of the server's data, instead of a temporary one.
    #[arg(long)]
    data: Option<PathBuf>,
}

/// What was done, and what was wrong with it.
#[derive(Default)]
struct Count {
    conversations: usize,
    messages: usize,
    forks: usize,
    snapshots: usize,
    resumes: usize,
    differences: Vec<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    // The process of the server is this executable under another command.
    if std::env::args().nth(1).is_some_and(|word| word == "serve") {
        return Ok(sessiond::cli::run());
    }
    let soak = Soak::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let count = runtime.block_on(soak.run())?;
    let mut out = io::stdout().lock();
    for difference in count.differences.iter().take(PRINTED_MAX) {
        writeln!(out, "{difference}")?;
    }
    writeln!(out, "{count}")?;
    Ok(if count.differences.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Soak {
    async fn run(self) -> anyhow::Result<Count> {
        let text = fs::read_to_string(&self.file).with_context(|| self.file.display().to_string())?;
        let scripts: Vec<Script> = openai::scripts(&text).collect::<Result<_, _>>()?;
        ensure!(
            !scripts.is_empty(),
            "there is no conversation in {}",
            self.file.display()
        );
        let temporary = tempfile::tempdir()?;
        let server = Server::start(self.data.as_deref().unwrap_or(temporary.path())).await?;
        let client = Client::connect(&server.address.parse()?, "soak").await?;
        let engines = Engines::attach(&client).await?;
        let began = Instant::now();
        let mut total = Count::default();
        let mut played = stream::iter(scripts)
            .map(|script| play(&client, &engines, script))
            .buffered(self.jobs.max(1));
        while let Some(count) = played.next().await {
            total.add(count?);
            if total.conversations % 20 == 0 {
                writeln!(io::stdout(), "{total}, {:.1} s", began.elapsed().as_secs_f64())?;
            }
        }
        Ok(total)
    }
}

/// One conversation, from its first turn to its last fork.
async fn play(client: &Client, engines: &Engines, script: Script) -> anyhow::Result<Count> {
    let id = script.id.clone();
    let mut count = Count {
        conversations: 1,
        ..Count::default()
    };
    engines.play(script.clone(), &mut count).await?;
    let mut player = Player::open(client, script, pb::Thread::default(), Duration::ZERO).await?;
    let mut session: Option<pb::Session> = None;
    while player.turn().await?.is_some() {
        if player.expected().is_empty() {
            continue;
        }
        let saved = player.save(None).await?;
        count.same(&id, "created", &session.is_none(), &saved.created);
        count.same(
            &id,
            "message_count",
            &(player.expected().len() as u64),
            &saved.message_count,
        );
        session = saved.session;
    }
    let session = session.with_context(|| format!("{id}: nothing to save"))?;
    let expected = player.expected();
    let read = messages(client, &session.session_id, MessageView::Visible).await?;
    let context = messages(client, &session.session_id, MessageView::Context).await?;
    for found in expect::differences(&expected, &read) {
        count.differences.push(format!("{id}: {found}"));
    }
    // There are no checkpoints and no sub-agents: a model is sent what a reader sees.
    count.same(&id, "context view", &read, &context);
    count.messages = read.len();
    for (number, at) in user_messages(&read).into_iter().enumerate() {
        fork(client, &session, &read, (number, at), &mut count)
            .await
            .with_context(|| format!("{id}: fork {number}"))?;
    }
    let again = messages(client, &session.session_id, MessageView::Visible).await?;
    count.same(&id, "after its forks", &read, &again);
    Ok(count)
}

/// Forks before a user message and reads the fork back: the same messages up to it, ids and times included.
async fn fork(
    client: &Client,
    parent: &pb::Session,
    read: &[pb::Message],
    (number, at): (usize, usize),
    count: &mut Count,
) -> anyhow::Result<()> {
    let request = pb::ForkSessionRequest {
        namespace: client.namespace(),
        session_id: parent.session_id.clone(),
        point: Some(Point::UserMessageIndex(i64::try_from(number)?)),
        request_id: request_id(),
        ..Default::default()
    };
    let answer = client
        .sessions()
        .fork_session(request)
        .await
        .map_err(Failure::from)?
        .into_inner();
    let fork = answer.session.context("a fork without a session")?;
    let name = format!("{} fork {number}", parent.session_id);
    count.forks += 1;
    count.same(&name, "message_count", &(at as u64), &fork.message_count);
    count.same(
        &name,
        "removed_message",
        &read.get(at),
        &answer.removed_message.as_ref(),
    );
    count.same(&name, "model", &parent.model, &fork.model);
    count.same(&name, "system_prompt", &parent.system_prompt, &fork.system_prompt);
    let origin = fork.origin.unwrap_or_default();
    count.same(
        &name,
        "origin",
        &(&parent.session_id, at as u64),
        &(&origin.session_id, origin.message_count),
    );
    for view in [MessageView::Visible, MessageView::Context] {
        let found = messages(client, &fork.session_id, view).await?;
        count.same(&name, view.as_str_name(), &read[..at], found.as_slice());
    }
    Ok(())
}

async fn messages(client: &Client, session_id: &str, view: MessageView) -> anyhow::Result<Vec<pb::Message>> {
    let request = pb::ReadMessagesRequest {
        namespace: client.namespace(),
        session_id: session_id.to_owned(),
        view: view.into(),
        ..Default::default()
    };
    let mut stream = client
        .sessions()
        .read_messages(request)
        .await
        .map_err(Failure::from)?
        .into_inner();
    let mut messages = Vec::new();
    while let Some(answer) = stream.message().await.map_err(Failure::from)? {
        messages.extend(answer.messages);
    }
    Ok(messages)
}

/// Where the user messages stand.
fn user_messages(messages: &[pb::Message]) -> Vec<usize> {
    let is_result = |block: &pb::ContentBlock| matches!(block.block, Some(Block::ToolResult(_)));
    let is_user =
        |message: &pb::Message| message.role() == Role::User && !message.content.iter().all(is_result);
    (0..messages.len()).filter(|&at| is_user(&messages[at])).collect()
}

impl Count {
    fn add(&mut self, other: Self) {
        self.conversations += other.conversations;
        self.messages += other.messages;
        self.forks += other.forks;
        self.snapshots += other.snapshots;
        self.resumes += other.resumes;
        self.differences.extend(other.differences);
    }

    fn same<T: PartialEq + std::fmt::Debug + ?Sized>(&mut self, of: &str, what: &str, wanted: &T, found: &T) {
        if wanted != found {
            self.differences
                .push(format!("{of}: {what}: wanted {wanted:?}, found {found:?}"));
        }
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            conversations,
            messages,
            forks,
            snapshots,
            resumes,
            differences,
        } = self;
        let differences = differences.len();
        write!(
            f,
            "{conversations} conversations, {messages} messages, {forks} forks, {snapshots} snapshots, \
             {resumes} resumes, {differences} differences"
        )
    }
}

/// A server in a process of its own, which is killed with its owner.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    async fn start(data: &Path) -> anyhow::Result<Self> {
        let ready = data.join("ready");
        let process = Command::new(std::env::current_exe()?)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .arg("--data")
            .arg(data.join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .env("SESSIOND_LOG", "warn")
            .stdin(Stdio::null())
            .spawn()?;
        let mut server = Self {
            process,
            address: String::new(),
        };
        let began = Instant::now();
        while began.elapsed() < START_TIME_MAX {
            if let Ok(address) = fs::read_to_string(&ready) {
                server.address = address.trim().to_owned();
                return Ok(server);
            }
            if let Some(status) = server.process.try_wait()? {
                bail!("the server ended: {status}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("the server is not ready after {START_TIME_MAX:?}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

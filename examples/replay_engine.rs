//! An engine that replays a recorded conversation as a live thread, in its own memory.
//!
//! ```text
//! cargo run --example replay_engine -- --addr HOST:PORT [--file FILE] [--conversation N] [--pace SECONDS]
//! ```
//!
//! FILE holds conversations in OpenAI's chat form, one `{id, model, messages}` a line. The engine opens a thread for one
//! of them, unless `--wait`, and plays it turn by turn; a session that is resumed into it goes on with the same
//! conversation. Lines on standard input say what it does: `turn` plays the next one, `begin` starts it with what the
//! user says, `half` plays it up to a tool call, `end` plays the rest of it, `quit` leaves. What happens is told on
//! standard output, one JSON object a line.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use serde_json::{Value, json};
use sessiond::client::engine::{Engine, Memory, Profile, State};
use sessiond::client::play::live::Live;
use sessiond::client::play::{Script, openai};
use sessiond::client::{Address, Client};
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[derive(Parser)]
struct Options {
    /// Where sessiond listens.
    #[arg(long, default_value = "127.0.0.1:50551")]
    addr: Address,
    /// The namespace of everything it does.
    #[arg(long, default_value = "")]
    namespace: String,
    /// The engine's id.
    #[arg(long, default_value = "replay")]
    engine_id: String,
    /// Conversations in OpenAI's chat form, one a line.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Which of them, from 0.
    #[arg(long, default_value_t = 0)]
    conversation: usize,
    /// Open no thread; wait for one to be resumed.
    #[arg(long)]
    wait: bool,
    /// Play by the clock, a turn every so many seconds.
    #[arg(long)]
    pace: Option<f64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let script = match &options.file {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            let mut scripts = openai::scripts(&text);
            scripts
                .nth(options.conversation)
                .context("there is no such conversation")??
        }
        None => Script::default(),
    };
    let client = Client::connect(&options.addr, options.namespace.clone()).await?;
    let memory = Arc::new(Memory::default());
    let engine = Engine::attach(&client, Profile::named(&options.engine_id), memory.clone());
    let mut live = None;
    if !options.wait {
        live = Some(Live::open(&engine, &memory, script.clone()).await);
    }
    let (mut state, mut resumed) = (engine.watch(), memory.resumed());
    state.mark_changed();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut clock = tokio::time::interval(options.pace.map_or(Duration::MAX, Duration::from_secs_f64));
    clock.tick().await;
    loop {
        tokio::select! {
            Ok(()) = state.changed() => {
                let state = state.borrow_and_update().clone();
                say("state", format!("{state:?}"))?;
                if let State::Ended(_) = state {
                    return Ok(());
                }
            }
            Ok(()) = resumed.changed() => {
                let thread = resumed.borrow_and_update().clone().unwrap_or_default();
                let resumed = Live::resumed(&engine, &memory, script.clone(), &thread);
                say("resumed", json!({"thread_id": thread, "messages": resumed.messages().len()}))?;
                live = Some(resumed);
            }
            line = lines.next_line(), if options.pace.is_none() => match line?.as_deref() {
                None | Some("quit") => break,
                Some(command) => obey(command, live.as_mut()).await?,
            },
            _ = clock.tick() => obey("turn", live.as_mut()).await?,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    engine.leave().await;
    say("left", Value::Null)
}

/// Does what a line says with the thread that was opened or resumed last.
async fn obey(command: &str, live: Option<&mut Live>) -> anyhow::Result<()> {
    let Some(live) = live else {
        return say("no_thread", command);
    };
    let done = match command.trim() {
        "turn" => live.turn().await,
        "begin" => live.begin().await,
        "half" => live.begin().await && live.until_tool_call(),
        "end" => {
            live.end().await;
            true
        }
        _ => return say("unknown_command", command),
    };
    let facts = json!({"thread_id": live.thread_id(), "messages": live.messages().len(), "done": done});
    say(command, facts)
}

/// Tells what happened, for whoever reads our standard output.
fn say(event: &str, facts: impl Into<Value>) -> anyhow::Result<()> {
    let facts = facts.into();
    writeln!(io::stdout(), "{}", json!({"event": event, "facts": facts}))?;
    Ok(())
}

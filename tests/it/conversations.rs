//! Recorded conversations, played as threads turn by turn, saved, forked wherever a user spoke, and read back.
//!
//! What is expected is told from the recording itself, not from what was played.

use futures_util::future::join_all;
use serde_json::Value;
use sessiond::client::play::{Player, Script, expect, openai};
use std::time::Duration;

use crate::support::build::{answer, block, text};
use crate::support::pb::content_block::Block;
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{ContentBlock, ListSessionsRequest, Message, Role, Thread, ToolUseBlock};
use crate::support::{Client, shared};

const RECORDED: &str = include_str!("../../assets/airline.jsonl");

/// How many of the conversations are saved and read after every single turn.
const SAVED_EVERY_TURN: usize = 3;

/// The messages of one recorded conversation as a reader must find them: system messages left out, the tools' answers
/// as user messages, what belongs together merged.
fn recorded(line: &str) -> Vec<(Role, Vec<ContentBlock>)> {
    let conversation: Value = serde_json::from_str(line).unwrap();
    let mut messages: Vec<(Role, Vec<ContentBlock>)> = Vec::new();
    let mut last = "";
    for message in conversation["messages"].as_array().unwrap() {
        let role = message["role"].as_str().unwrap();
        let said = message["content"].as_str().unwrap_or_default();
        let mut blocks = Vec::new();
        if role == "tool" {
            blocks.push(match message["content"].as_str() {
                Some("") => {
                    let mut empty = answer("", " ");
                    set_result(&mut empty, message["tool_call_id"].as_str().unwrap(), "");
                    empty
                }
                _ => answer(message["tool_call_id"].as_str().unwrap(), said),
            });
        } else if !said.trim().is_empty() {
            blocks.push(text(said));
        }
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let call = ToolUseBlock {
                tool_use_id: call["id"].as_str().unwrap().into(),
                name: call["function"]["name"].as_str().unwrap().into(),
                input_json: call["function"]["arguments"].as_str().unwrap().into(),
            };
            blocks.push(block(Block::ToolUse(call)));
        }
        let ours = if role == "assistant" {
            Role::Assistant
        } else {
            Role::User
        };
        match messages.last_mut() {
            _ if role == "system" => {}
            Some((_, before)) if last == role && role != "user" => before.extend(blocks),
            _ => messages.push((ours, blocks)),
        }
        last = role;
    }
    messages.retain(|(_, blocks)| !blocks.is_empty());
    messages
}

/// Gives a result its call's id and a text, which may be empty.
fn set_result(result: &mut ContentBlock, id: &str, said: &str) {
    if let Some(Block::ToolResult(result)) = &mut result.block {
        result.tool_use_id = id.into();
        result.content = vec![text(said)];
    }
}

fn plain(messages: &[Message]) -> Vec<(Role, Vec<ContentBlock>)> {
    messages
        .iter()
        .map(|message| (message.role(), message.content.clone()))
        .collect()
}

fn is_user(message: &Message) -> bool {
    let is_result = |block: &ContentBlock| matches!(block.block, Some(Block::ToolResult(_)));
    message.role() == Role::User && message.content.iter().any(|block| !is_result(block))
}

/// Connects the player to the server that the client talks to.
async fn player(client: &Client, script: Script) -> Player {
    let address = client.address().parse().unwrap();
    let connected = sessiond::client::Client::connect(&address, client.namespace())
        .await
        .unwrap();
    Player::open(&connected, script, Thread::default(), Duration::ZERO)
        .await
        .unwrap()
}

async fn play(client: &Client, number: usize, line: &str) {
    let script = openai::scripts(line).next().unwrap().unwrap();
    let mut player = player(client, script).await;
    while player.turn().await.unwrap().is_some() {
        if number < SAVED_EVERY_TURN {
            let saved = player.save(None).await.unwrap().session.unwrap();
            let read = client.messages(&saved.session_id).await;
            assert_eq!(
                expect::differences(&player.expected(), &read),
                Vec::<String>::new()
            );
        }
    }
    let saved = player.save(None).await.unwrap().session.unwrap();
    let messages = client.messages(&saved.session_id).await;
    assert_eq!(
        expect::differences(&player.expected(), &messages),
        Vec::<String>::new()
    );
    assert_eq!(plain(&messages), recorded(line), "conversation {number}");
    assert_eq!(
        (saved.message_count, saved.entry_count),
        (messages.len() as u64, messages.len() as u64)
    );

    let users: Vec<_> = (0..messages.len())
        .filter(|index| is_user(&messages[*index]))
        .collect();
    assert!(!users.is_empty());
    for (nth, &index) in users.iter().enumerate() {
        let forked = client
            .fork(
                &saved.session_id,
                Point::UserMessageIndex(i64::try_from(nth).unwrap()),
            )
            .await;
        assert_eq!(forked.removed_message.as_ref(), Some(&messages[index]));
        let fork = forked.session.unwrap();
        assert_eq!(fork.message_count, index as u64);
        assert_eq!(client.messages(&fork.session_id).await, messages[..index]);
    }
    assert_eq!(
        client.messages(&saved.session_id).await,
        messages,
        "forks change nothing"
    );
}

#[tokio::test]
async fn recorded_conversations_come_back_word_for_word() {
    let client = shared().await;
    let lines: Vec<_> = RECORDED.lines().collect();
    assert_eq!(lines.len(), 20);
    join_all(
        lines
            .iter()
            .enumerate()
            .map(|(number, line)| play(&client, number, line)),
    )
    .await;
    let sessions = client.listed(ListSessionsRequest::default()).await;
    let (forks, saved): (Vec<_>, Vec<_>) = sessions.into_iter().partition(|session| session.origin.is_some());
    assert_eq!(saved.len(), lines.len());
    let titles: std::collections::HashSet<_> = forks.iter().map(|fork| &fork.title).collect();
    assert_eq!(titles.len(), forks.len(), "no two forks have one title");
}

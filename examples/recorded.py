"""Recorded conversations, as messages of the service: what replay_engine.py plays.

A file holds conversations in OpenAI's chat form, one `{id, model, messages}` a line. What was said is kept as it came:
arguments verbatim, ids that repeat, texts that are blank.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sessiond.v1 import entry_pb2, thread_pb2

Message = entry_pb2.Message


@dataclass
class Conversation:
    """A recorded conversation: its turns, each a list of messages."""

    name: str = "empty"
    model: str = ""
    system_prompt: str = ""
    turns: list[list[Message]] = field(default_factory=list)

    @classmethod
    def read(cls, path: str, number: int) -> Conversation:
        """Reads the conversation with this number, from 0."""
        with open(path, encoding="utf-8") as lines:
            line = next(line for at, line in enumerate(line for line in lines if line.strip()) if at == number)
        recorded = json.loads(line)
        conversation = cls(recorded.get("id", "unnamed"), recorded.get("model", ""))
        for chat in recorded["messages"]:
            if chat["role"] == "system":
                conversation.system_prompt += chat["content"]
                continue
            if chat["role"] == "user" or not conversation.turns:
                conversation.turns.append([])
            conversation.turns[-1].append(message_of(chat, conversation.model))
        return conversation


def message_of(chat: dict[str, Any], model: str) -> Message:
    """A chat message as the service knows messages; tool results are a user's."""
    content: list[entry_pb2.ContentBlock] = []
    text = chat.get("content")
    if chat["role"] == "tool":
        result = entry_pb2.ToolResultBlock(tool_use_id=chat["tool_call_id"], content=text_blocks(text))
        content.append(entry_pb2.ContentBlock(tool_result=result))
    else:
        content.extend(text_blocks(text))
    for call in chat.get("tool_calls") or []:
        use = entry_pb2.ToolUseBlock(
            tool_use_id=call["id"], name=call["function"]["name"], input_json=call["function"]["arguments"]
        )
        content.append(entry_pb2.ContentBlock(tool_use=use))
    if chat["role"] == "assistant":
        return Message(role=entry_pb2.ROLE_ASSISTANT, content=content, model=model)
    return Message(role=entry_pb2.ROLE_USER, content=content)


def text_blocks(text: str | list[dict[str, Any]] | None) -> list[entry_pb2.ContentBlock]:
    parts = [text] if isinstance(text, str) else [part.get("text", "") for part in text or []]
    return [entry_pb2.ContentBlock(text=entry_pb2.TextBlock(text=part)) for part in parts]


def is_question(message: Message) -> bool:
    """Whether a message starts a turn: a user's, with a block that is not a tool result."""
    return message.role == entry_pb2.ROLE_USER and any(
        block.WhichOneof("block") != "tool_result" for block in message.content
    )


def calls_tool(message: Message) -> bool:
    return any(block.HasField("tool_use") for block in message.content)


def items_of(message: Message) -> Iterator[thread_pb2.Item]:
    """A message as items: one a block; the first bears its id, so that a save gives the message the same one."""
    for number, block in enumerate(message.content, 1):
        match block.WhichOneof("block"):
            case "tool_use":
                kind = thread_pb2.ITEM_KIND_TOOL_CALL
            case "tool_result":
                kind = thread_pb2.ITEM_KIND_TOOL_RESULT
            case _ if message.role == entry_pb2.ROLE_USER:
                kind = thread_pb2.ITEM_KIND_USER_MESSAGE
            case _:
                kind = thread_pb2.ITEM_KIND_AGENT_MESSAGE
        item_id = message.message_id if number == 1 else f"{message.message_id}.{number}"
        status = thread_pb2.TURN_STATUS_COMPLETED
        yield thread_pb2.Item(
            item_id=item_id, kind=kind, status=status, content=[block], create_time=message.create_time
        )

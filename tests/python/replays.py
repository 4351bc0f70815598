"""Replays recorded conversations through Python engines, and compares what the service keeps with what was said.

    replays.py HOST:PORT FILE [--limit N] [--jobs N]

Each conversation of FILE (OpenAI's chat form, one `{id, model, messages}` a line) runs in examples/replay_engine.py, a
process of its own. A snapshot is taken at every boundary of a turn and once within one; a fork before a user message is
resumed into a second engine, from which another snapshot is taken. Every time the session must be, field by field, what
was said, and messages keep their ids. Needs the stubs of `just stubs` and `examples` on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from sessiond.v1 import engine_pb2, resume_pb2, session_service_pb2, session_service_pb2_grpc
from sessiond.v1 import thread_service_pb2, thread_service_pb2_grpc

from engines import ReplayEngine
from recorded import Conversation, Message, calls_tool, is_question

DEADLINE_S = 30


class Mismatch(Exception):
    """What came back is not what was said."""


@dataclass
class Count:
    conversations: int = 0
    snapshots: int = 0
    resumes: int = 0


class Replay:
    """One conversation, in a namespace of its own."""

    def __init__(self, address: str, file: str, number: int) -> None:
        self._address, self._file, self._number = address, file, number
        self._namespace = f"replay-{number}"
        self._channel = grpc.insecure_channel(address)
        self._sessions = session_service_pb2_grpc.SessionServiceStub(self._channel)
        self._threads = thread_service_pb2_grpc.ThreadServiceStub(self._channel)
        self._conversation = Conversation.read(file, number)
        self._ids: list[str] = []
        self._count = Count(conversations=1)

    def run(self) -> Count:
        with self._channel, self._engine("first", "--thread-id", "talk") as engine:
            self._until_open()
            session_id = self._live(engine)
            if session_id:
                self._resume(session_id)
        return self._count

    def _engine(self, name: str, *options: str) -> ReplayEngine:
        file = ["--file", self._file, "--conversation", str(self._number)]
        return ReplayEngine(self._address, self._namespace, name, *file, *options)

    def _live(self, engine: ReplayEngine) -> str:
        said: list[Message] = []
        session_id, within = "", False
        for turn in self._conversation.turns:
            call = next((at for at, message in enumerate(turn) if calls_tool(message)), None)
            if call is not None and not within:
                within = True
                engine.tell("half")
                engine.until("turn_started")
                taken = self._snapshot("talk", engine_pb2.SNAPSHOT_CONSISTENCY_IMMEDIATE)
                self._expect("incomplete_turn", taken.session.incomplete_turn, True)
                self._same("in mid-turn", taken.session.session_id, said + turn[: call + 1])
                engine.tell("end")
            else:
                engine.tell("turn")
            engine.until("turn_ended")
            said += turn
            taken = self._snapshot("talk", engine_pb2.SNAPSHOT_CONSISTENCY_TURN_BOUNDARY)
            self._expect("incomplete_turn", taken.session.incomplete_turn, False)
            self._expect("session_id", taken.session.session_id, session_id or taken.session.session_id)
            session_id = taken.session.session_id
            self._same("at a boundary", session_id, said)
        return session_id

    def _resume(self, session_id: str) -> None:
        read = self._read(session_id)
        questions = [at for at, message in enumerate(read) if is_question(message)]
        number = len(questions) // 2
        forked = self._call(self._sessions, "ForkSession", session_id=session_id, user_message_index=number)
        kept = read[: questions[number]]
        self._expect("the fork", self._read(forked.session.session_id), kept)
        with self._engine("second", "--wait") as second:
            stream = self._call(
                self._sessions, "Resume", session_id=forked.session.session_id, engine_id="second"
            )
            last = [one.progress for one in stream][-1]
            self._expect("state", last.state, resume_pb2.RESUME_STATE_READY)
            self._expect("items_written", last.items_written, len(kept))
            self._count.resumes += 1
            seeded = second.until("seeded")
            self._expect("seeded", (seeded["thread_id"], seeded["messages"]), (last.thread_id, len(kept)))
            second.tell("turn")
            second.until("turn_ended")
            taken = self._snapshot(last.thread_id, engine_pb2.SNAPSHOT_CONSISTENCY_TURN_BOUNDARY)
            self._expect("session_id", taken.session.session_id, forked.session.session_id)
            after = self._read(forked.session.session_id)
            self._expect("what the second engine was given", after[: len(kept)], kept)
            played = sum(is_question(message) for message in kept)
            turns = [turn for turn in self._conversation.turns if is_question(turn[0])]
            self._said("what the second engine said", after[len(kept) :], turns[played])

    def _snapshot(self, thread_id: str, consistency: int) -> Any:
        self._count.snapshots += 1
        return self._call(
            self._sessions, "SnapshotFromEngine", thread_id=thread_id, consistency=consistency
        )

    def _same(self, when: str, session_id: str, said: list[Message]) -> None:
        read = self._read(session_id)
        self._said(when, read, said)
        ids = [message.message_id for message in read]
        self._expect(f"{when}: ids", ids[: len(self._ids)], self._ids)
        self._ids = ids

    def _said(self, when: str, read: list[Message], said: list[Message]) -> None:
        self._expect(f"{when}: messages", len(read), len(said))
        for at, (got, want) in enumerate(zip(read, said)):
            for field in ("role", "model", "agent_path"):
                self._expect(f"{when}: [{at}].{field}", getattr(got, field), getattr(want, field))
            self._expect(f"{when}: [{at}].content", list(got.content), list(want.content))

    def _read(self, session_id: str) -> list[Message]:
        responses = self._call(self._sessions, "ReadMessages", session_id=session_id, view=1)
        return [message for response in responses for message in response.messages]

    def _until_open(self) -> None:
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            try:
                self._call(self._threads, "GetThread", thread_id="talk")
                return
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.NOT_FOUND:
                    raise
                time.sleep(0.01)
        raise Mismatch("the engine's thread is not there")

    def _call(self, stub: Any, rpc: str, **fields: Any) -> Any:
        messages = thread_service_pb2 if stub is self._threads else session_service_pb2
        request = getattr(messages, f"{rpc}Request")(namespace=self._namespace, **fields)
        return getattr(stub, rpc)(request, timeout=DEADLINE_S)

    def _expect(self, what: str, got: Any, want: Any) -> None:
        if got != want:
            name = self._conversation.name
            raise Mismatch(f"{name} ({self._number}): {what}: got {got!r:.400}, want {want!r:.400}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--limit", type=int, default=0, help="conversations to replay; 0 replays all")
    parser.add_argument("--jobs", type=int, default=2, help="conversations at the same time (default: %(default)s)")
    options = parser.parse_args()
    with open(options.file, encoding="utf-8") as lines:
        numbers = range(sum(1 for line in lines if line.strip()))
    numbers = numbers[: options.limit or None]
    total = Count()
    with ThreadPoolExecutor(options.jobs) as jobs:
        for count in jobs.map(lambda number: Replay(options.address, options.file, number).run(), numbers):
            total.conversations += count.conversations
            total.snapshots += count.snapshots
            total.resumes += count.resumes
            if total.conversations % 20 == 0:
                print(f"{total.conversations} conversations", flush=True)
    print(
        f"{total.conversations} conversations through Python engines: {total.snapshots} snapshots, "
        f"{total.resumes} resumes, 0 differences"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

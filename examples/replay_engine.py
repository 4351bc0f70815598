"""An engine that replays a recorded conversation as a live thread, in its own memory.

    replay_engine.py --addr HOST:PORT [--file FILE] [--conversation N] [--journal] [--pace SECONDS]

FILE holds conversations in OpenAI's chat form, one `{id, model, messages}` a line. The engine attaches, opens a thread
for one of them (unless `--wait`), and plays it turn by turn: a user message starts a turn. It answers snapshots from
its memory, takes over sessions that are resumed and goes on with the same conversation where they end, and attaches
again when the stream breaks. With `--journal` it also writes turns and items to the service as they happen.

What it does is told by lines on standard input, or by the clock with `--pace`:

    turn    plays the next turn            begin   starts a turn with its user message alone
    half    starts it up to a tool call    end     plays the rest of the turn that runs
    quit    says goodbye and leaves

What happens is told on standard output, one JSON object a line. Needs the stubs of `just stubs` on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import signal
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import code_pb2, status_pb2
from sessiond.v1 import engine_pb2, engine_service_pb2, engine_service_pb2_grpc, entry_pb2
from sessiond.v1 import thread_pb2, thread_service_pb2, thread_service_pb2_grpc

from recorded import Conversation, calls_tool, is_question, items_of

Message = entry_pb2.Message

QUEUE_MAX = 256  # frames that wait to be sent
PART_BYTES_MAX = (2 << 20) - (64 << 10)  # of a snapshot, with room for what stands around the messages
RECEIVE_BYTES_MAX = 80 << 20  # a seed's batch is under 2 MiB, or one message of any size
BACKOFF_S = (0.1, 5.0)  # before it attaches again: at first, and at most
CALL_TIMEOUT_S = 10.0
# The service will say the same again: the engine's thread is another's, or another process has its name.
FINAL = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ABORTED)
# Calls that may be made again once the engine is attached anew.
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED)


def say(event: str, **facts: Any) -> None:
    """Tells what happened, for whoever reads our standard output."""
    print(json.dumps({"event": event, **facts}), flush=True)


@dataclass
class Thread:
    """A live conversation in the engine's memory."""

    facts: thread_pb2.Thread
    messages: list[Message] = field(default_factory=list)
    turn_id: str = ""  # of the turn that runs
    rest: list[Message] = field(default_factory=list)  # what it will still say
    asks: list[engine_pb2.SnapshotRequest] = field(default_factory=list)  # to answer when the turn ends

    @property
    def id(self) -> str:
        return self.facts.thread_id

    def snapshot(self, ask: engine_pb2.SnapshotRequest) -> list[engine_pb2.EngineSnapshot]:
        """What it holds, in parts; only what is new, if the service has the rest already."""
        known = ask.known_messages
        delta = 0 < known <= len(self.messages) and self.messages[known - 1].message_id == ask.known_last_message_id
        parts, size = [engine_pb2.EngineSnapshot()], 0
        for message in self.messages[known:] if delta else self.messages:
            bytes_more = message.ByteSize() + 16
            if parts[-1].messages and size + bytes_more > PART_BYTES_MAX:
                parts.append(engine_pb2.EngineSnapshot())
                size = 0
            parts[-1].messages.append(message)
            size += bytes_more
        last = parts[-1]
        last.delta, last.incomplete_turn = delta, bool(self.turn_id)
        last.model, last.system_prompt = self.facts.model, self.facts.system_prompt
        return parts


@dataclass
class Seed:
    """A session on its way into our memory."""

    thread: thread_pb2.Thread
    messages: list[Message] = field(default_factory=list)


class Attachment:
    """One stream to the service; what comes down it goes into `events`, last of all its end."""

    def __init__(self, channel: grpc.Channel, hello: engine_pb2.Hello, events: queue.Queue) -> None:
        self.epoch = 0
        self.heartbeat_s = 5.0
        self._up: queue.Queue = queue.Queue(QUEUE_MAX)
        self.send(hello=hello)
        self._call = engine_service_pb2_grpc.EngineServiceStub(channel).Attach(iter(self._up.get, None))
        threading.Thread(target=self._read, args=(events,), daemon=True).start()

    def send(self, **frame: Any) -> None:
        self._up.put(engine_service_pb2.AttachRequest(**frame))

    def close(self) -> None:
        """Ends our side once everything is sent."""
        self._up.put(None)

    def wait(self) -> None:
        """Waits for the service to end its side."""
        self._call.code()

    def _read(self, events: queue.Queue) -> None:
        try:
            for frame in self._call:
                events.put((self, frame))
            events.put((self, None))
        except grpc.RpcError as error:
            events.put((self, error))
        self.close()


class Journal:
    """Turns and items on their way to the service: sent in order, and again after the stream broke."""

    def __init__(self, channel: grpc.Channel, namespace: str) -> None:
        self._stub = thread_service_pb2_grpc.ThreadServiceStub(channel)
        self._namespace = namespace
        self._waiting: list[tuple[str, Any]] = []
        self._opened: dict[str, int] = {}  # the epoch under which the service knows a thread as ours

    def write(self, rpc: str, **fields: Any) -> None:
        """Takes a write; its request_id makes it count once, however often it is sent."""
        request = getattr(thread_service_pb2, f"{rpc}Request")(
            namespace=self._namespace, request_id=str(uuid.uuid4()), **fields
        )
        self._waiting.append((rpc, request))

    def flush(self, epoch: int) -> None:
        """Sends what waits, as the engine that is attached under this epoch."""
        while self._waiting:
            rpc, request = self._waiting[0]
            try:
                self._until_opened(request.thread_id, epoch)
                request.epoch = epoch
                getattr(self._stub, rpc)(request, timeout=CALL_TIMEOUT_S)
            except grpc.RpcError as error:
                if error.code() in AGAIN:
                    return
                # Sent before under another epoch, and the answer was lost: only what was done is remembered.
                if "REQUEST_ID_REUSED" not in str(error.trailing_metadata()):
                    say("journal_failed", rpc=rpc, code=error.code().name, details=error.details())
            self._waiting.pop(0)

    def _until_opened(self, thread_id: str, epoch: int) -> None:
        """ThreadOpened is not answered: waits until the service has taken it."""
        deadline = time.monotonic() + CALL_TIMEOUT_S
        request = thread_service_pb2.GetThreadRequest(namespace=self._namespace, thread_id=thread_id)
        while self._opened.get(thread_id) != epoch and time.monotonic() < deadline:
            try:
                self._opened[thread_id] = self._stub.GetThread(request, timeout=CALL_TIMEOUT_S).thread.epoch
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.NOT_FOUND:
                    raise
            time.sleep(0.02)


class Engine:
    """Threads and seeds in memory, and one loop that takes frames, commands and the clock in turn."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._channel = grpc.insecure_channel(options.addr, [("grpc.max_receive_message_length", RECEIVE_BYTES_MAX)])
        self._events: queue.Queue = queue.Queue(QUEUE_MAX)
        self._hello = engine_pb2.Hello(
            namespace=options.namespace,
            engine_id=options.engine_id,
            labels=dict(label.split("=", 1) for label in options.label),
            accepts_resume=True,
            sdk="replay_engine.py",
        )
        self._conversation = Conversation()
        if options.file:
            self._conversation = Conversation.read(options.file, options.conversation)
        self._threads: dict[str, Thread] = {}
        self._seeds: dict[str, Seed] = {}
        self._journal = Journal(self._channel, options.namespace) if options.journal else None
        self._attachment: Attachment | None = None
        self._pause = BACKOFF_S[0]
        self._drains = False
        self._leaves = False

    def run(self) -> int:
        """Runs until it is told to quit, or told by the service that it cannot go on."""
        if not self._options.wait:
            self._add_thread()
        threading.Thread(target=self._read_commands, daemon=True).start()
        self._attach()
        heartbeat_at = step_at = time.monotonic()
        while not self._leaves:
            now = time.monotonic()
            if self._attached and now >= heartbeat_at:
                self._attachment.send(heartbeat=engine_pb2.Heartbeat())
                heartbeat_at = now + self._attachment.heartbeat_s
            if self._options.pace is not None and now >= step_at:
                self._step()
                step_at = now + self._options.pace
            try:
                source, event = self._events.get(timeout=0.05)
            except queue.Empty:
                continue
            if source is self:
                self._obey(event)
            elif source is self._attachment:
                self._take(event)
        return self._leave()

    # Attaching

    @property
    def _attached(self) -> bool:
        return self._attachment is not None and self._attachment.epoch > 0

    def _attach(self) -> None:
        self._attachment = Attachment(self._channel, self._hello, self._events)

    def _detached(self, error: grpc.RpcError | None) -> None:
        """The stream is over: everything stays in memory, and after a pause the engine attaches again."""
        code = error.code() if error else grpc.StatusCode.OK
        say("detached", code=code.name, details=error.details() if error else "")
        self._attachment = None
        self._drains = False
        if code in FINAL:
            self._leaves = True
            return
        time.sleep(self._pause * random.uniform(0.5, 1.0))
        self._pause = min(self._pause * 2, BACKOFF_S[1])
        self._attach()

    def _leave(self) -> int:
        if not self._attached:
            return 1
        self._attachment.send(goodbye=engine_pb2.Goodbye())
        self._attachment.close()
        self._attachment.wait()
        say("left")
        return 0

    # Frames

    def _take(self, frame: engine_service_pb2.AttachResponse | grpc.RpcError | None) -> None:
        if frame is None or isinstance(frame, grpc.RpcError):
            self._detached(frame)
            return
        match frame.WhichOneof("frame"):
            case "welcome":
                self._welcomed(frame.welcome)
            case "snapshot_request":
                self._asked(frame.snapshot_request)
            case "seed_begin":
                # Sent again when we attach anew: what we have of it stays.
                self._seeds.setdefault(frame.seed_begin.seed_id, Seed(frame.seed_begin.thread))
                say("seed_begun", seed_id=frame.seed_begin.seed_id, total=frame.seed_begin.items_total)
            case "seed_batch":
                self._seed(frame.seed_batch)
            case "seed_commit":
                self._seeded(frame.seed_commit.seed_id)
            case "seed_cancel":
                self._seeds.pop(frame.seed_cancel.seed_id, None)
                say("seed_canceled", seed_id=frame.seed_cancel.seed_id)
            case "drain":
                self._drains = True
                say("drained")
                self._go_if_drained()
            case _:  # a frame of a later version
                pass

    def _welcomed(self, welcome: engine_pb2.Welcome) -> None:
        self._attachment.epoch = welcome.epoch
        self._attachment.heartbeat_s = welcome.heartbeat_interval.ToTimedelta().total_seconds()
        self._pause = BACKOFF_S[0]
        say("attached", epoch=welcome.epoch, heartbeat_s=self._attachment.heartbeat_s)
        for thread in self._threads.values():
            self._announce(thread)
        self._write_journal()

    def _announce(self, thread: Thread) -> None:
        """Names a thread and the turn that runs in it, so that it is ours and the turn lives on."""
        if self._attached:
            opened = engine_pb2.ThreadOpened(thread=thread.facts, active_turn_id=thread.turn_id)
            self._attachment.send(thread_opened=opened)

    def _asked(self, ask: engine_pb2.SnapshotRequest) -> None:
        thread = self._threads.get(ask.thread_id)
        if thread is None:
            error = status_pb2.Status(code=code_pb2.NOT_FOUND, message="this engine does not run the thread")
            self._attachment.send(snapshot_reply=engine_pb2.SnapshotReply(ask_id=ask.ask_id, error=error, last=True))
        elif thread.turn_id and ask.consistency != engine_pb2.SNAPSHOT_CONSISTENCY_IMMEDIATE:
            thread.asks.append(ask)
            say("snapshot_waits", thread_id=thread.id)
        else:
            self._answer(thread, ask)

    def _answer(self, thread: Thread, ask: engine_pb2.SnapshotRequest) -> None:
        if not self._attached or ask.deadline.ToMilliseconds() < time.time() * 1000:
            return  # nobody waits any more
        parts = thread.snapshot(ask)
        for number, part in enumerate(parts, 1):
            reply = engine_pb2.SnapshotReply(ask_id=ask.ask_id, snapshot=part, last=number == len(parts))
            self._attachment.send(snapshot_reply=reply)
        sent = sum(len(part.messages) for part in parts)
        facts = {"delta": parts[-1].delta, "incomplete": parts[-1].incomplete_turn, "parts": len(parts)}
        say("snapshot", thread_id=thread.id, messages=sent, **facts)

    def _seed(self, batch: engine_pb2.SeedBatch) -> None:
        seed = self._seeds.get(batch.seed_id)
        if seed is None or batch.first_index > len(seed.messages):
            error = status_pb2.Status(code=code_pb2.DATA_LOSS, message="what came before is not in memory")
            self._attachment.send(seed_failed=engine_pb2.SeedFailed(seed_id=batch.seed_id, error=error))
            self._seeds.pop(batch.seed_id, None)
            return
        seed.messages[batch.first_index :] = batch.messages
        self._attachment.send(seed_ack=engine_pb2.SeedAck(seed_id=batch.seed_id, items=len(seed.messages)))

    def _seeded(self, seed_id: str) -> None:
        """The seed is whole: from now on its thread is ours."""
        seed = self._seeds.pop(seed_id, None)
        if seed is None:
            return
        thread = Thread(seed.thread, seed.messages)
        self._threads.pop(thread.id, None)
        self._threads[thread.id] = thread
        self._announce(thread)
        say("seeded", thread_id=thread.id, messages=len(thread.messages))

    # Commands

    def _read_commands(self) -> None:
        for line in sys.stdin:
            self._events.put((self, line.strip()))
        if self._options.pace is None:
            self._events.put((self, "quit"))

    def _obey(self, command: str) -> None:
        match command:
            case "turn":
                self._begin()
                self._end()
            case "begin":
                self._begin()
            case "half":
                self._begin()
                self._play_to_tool_call()
            case "end":
                self._end()
            case "quit":
                self._leaves = True
            case "":
                pass
            case _:
                say("unknown_command", command=command)

    # Playing

    def _add_thread(self) -> None:
        facts = thread_pb2.Thread(
            thread_id=self._options.thread_id or str(uuid.uuid4()),
            title=self._options.title,
            model=self._conversation.model,
            system_prompt=self._conversation.system_prompt,
        )
        self._threads[facts.thread_id] = Thread(facts)

    @property
    def _thread(self) -> Thread | None:
        """The thread that commands are for: the one opened or seeded last."""
        return next(reversed(self._threads.values()), None)

    def _begin(self) -> None:
        """Starts the turn that follows what the thread holds, if the conversation has one more."""
        thread = self._thread
        if thread is None or thread.turn_id or self._drains:
            return
        leads = bool(thread.messages) and not is_question(thread.messages[0])
        played = leads + sum(map(is_question, thread.messages))
        if played >= len(self._conversation.turns):
            say("nothing_left", thread_id=thread.id)
            return
        thread.turn_id = str(uuid.uuid4())
        thread.rest = list(self._conversation.turns[played])
        self._announce(thread)
        self._write_journal("StartTurn", thread_id=thread.id, turn_id=thread.turn_id)
        say("turn_started", thread_id=thread.id, turn_id=thread.turn_id)
        self._speak(thread)

    def _speak(self, thread: Thread) -> None:
        """Adds the next message of the turn that runs, under an id that is the engine's to give."""
        message = Message()
        message.CopyFrom(thread.rest.pop(0))
        message.message_id, message.turn_id = str(uuid.uuid4()), thread.turn_id
        message.create_time.GetCurrentTime()
        thread.messages.append(message)
        self._write_journal(
            "AppendItems", thread_id=thread.id, turn_id=thread.turn_id, items=list(items_of(message))
        )

    def _play_to_tool_call(self) -> None:
        thread = self._thread
        while thread and thread.rest and not calls_tool(thread.messages[-1]):
            self._speak(thread)

    def _end(self) -> None:
        """Plays the rest of the turn that runs and answers who waited for its end."""
        thread = self._thread
        if thread is None or not thread.turn_id:
            return
        while thread.rest:
            self._speak(thread)
        turn_id, thread.turn_id = thread.turn_id, ""
        status = thread_pb2.TURN_STATUS_COMPLETED
        self._write_journal("FinishTurn", thread_id=thread.id, turn_id=turn_id, status=status)
        say("turn_ended", thread_id=thread.id, turn_id=turn_id, messages=len(thread.messages))
        asks, thread.asks = thread.asks, []
        for ask in asks:
            self._answer(thread, ask)
        self._go_if_drained()

    def _step(self) -> None:
        """One message, by the clock."""
        thread = self._thread
        if thread is None:
            return
        if not thread.turn_id:
            self._begin()
        elif thread.rest:
            self._speak(thread)
        else:
            self._end()

    def _go_if_drained(self) -> None:
        """The service is about to go away: once nothing runs, leave it, to attach where it answers next."""
        if self._drains and self._attached and not any(thread.turn_id for thread in self._threads.values()):
            self._attachment.send(goodbye=engine_pb2.Goodbye())
            self._attachment.close()

    def _write_journal(self, rpc: str = "", **fields: Any) -> None:
        if self._journal is None:
            return
        if rpc:
            self._journal.write(rpc, **fields)
        if self._attached:
            self._journal.flush(self._attachment.epoch)


def main() -> int:
    parser = argparse.ArgumentParser(description="Replays a recorded conversation as an engine of sessiond.")
    parser.add_argument("--addr", default="127.0.0.1:50551", help="where sessiond listens (default: %(default)s)")
    parser.add_argument("--namespace", default="")
    parser.add_argument("--engine-id", default="replay")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--file", help="conversations in OpenAI's chat form, one a line")
    parser.add_argument("--conversation", type=int, default=0, metavar="N", help="which of them, from 0")
    parser.add_argument("--thread-id", default="", help="of the thread it opens (default: a new one)")
    parser.add_argument("--title", default="")
    parser.add_argument("--wait", action="store_true", help="open no thread; wait for one to be resumed")
    parser.add_argument("--journal", action="store_true", help="write turns and items to the service too")
    parser.add_argument("--pace", type=float, metavar="SECONDS", help="play by the clock, one message at a time")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return Engine(parser.parse_args()).run()
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())

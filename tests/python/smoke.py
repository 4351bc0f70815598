"""An ordinary Python client against a running server: `smoke.py ADDR`.

It knows nothing but the stubs that `just stubs` generates from the protos. It walks once through sessions, forks,
threads and saves, attaches examples/replay_engine.py twice for snapshots and a resume, reads an error's details, asks
for health and reflection, says what it did, and exits non-zero at the first answer that is not the promised one. It
writes into a namespace of its own and expects it to be empty.
"""

import sys
import threading
import time

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from sessiond.v1 import engine_pb2, engine_service_pb2, engine_service_pb2_grpc, entry_pb2, resume_pb2
from sessiond.v1 import session_pb2, session_service_pb2, session_service_pb2_grpc
from sessiond.v1 import thread_pb2, thread_service_pb2, thread_service_pb2_grpc

from engines import ReplayEngine

NAMESPACE = "python-smoke"
DEADLINE_S = 20

QUESTION = "Where does the river begin?"
ANSWER = "In the hills, at the third spring."
SECOND_QUESTION = "And where does it end?"
# Neither number survives a parser that makes doubles of them.
INPUT_JSON = '{ "far": 1e400, "id": 9007199254740993 }'


class Mismatch(Exception):
    """An answer that is not the promised one."""


class Service:
    """Calls the RPCs of one service by name, each with the namespace and a deadline."""

    def __init__(self, stub, messages):
        self._stub = stub
        self._messages = messages

    def call(self, rpc, **fields):
        request = getattr(self._messages, f"{rpc}Request")(namespace=NAMESPACE, **fields)
        return getattr(self._stub, rpc)(request, timeout=DEADLINE_S)


def expect(what, got, want):
    if got != want:
        raise Mismatch(f"{what}: got {got!r}, want {want!r}")


def expect_some(what, got):
    if not got:
        raise Mismatch(f"{what}: got {got!r}, want some value")


def until(what, read, is_there):
    """Reads until what was promised is there."""
    end = time.monotonic() + DEADLINE_S
    while not is_there(got := read()):
        if time.monotonic() > end:
            raise Mismatch(f"{what}: still {got!r} after {DEADLINE_S} s")
        time.sleep(0.02)
    return got


def done(what):
    print(f"smoke: {what}", flush=True)


def text_block(text):
    return entry_pb2.ContentBlock(text=entry_pb2.TextBlock(text=text))


def item(kind: int, text: str) -> thread_pb2.Item:
    return thread_pb2.Item(kind=kind, status=thread_pb2.TURN_STATUS_COMPLETED, content=[text_block(text)])


def message_entry(role, *blocks):
    return entry_pb2.Entry(message=entry_pb2.Message(role=role, content=blocks))


def texts(messages):
    return [block.text.text for message in messages for block in message.content if block.HasField("text")]


def messages_of(sessions, session_id):
    return [message for page in sessions.call("ReadMessages", session_id=session_id) for message in page.messages]


def create(sessions):
    session = sessions.call(
        "CreateSession",
        session=session_pb2.Session(title="Rivers", workspace="/maps/./rivers/", labels={"kind": "smoke"}),
    ).session
    expect("namespace", session.namespace, NAMESPACE)
    expect_some("session_id", session.session_id)
    expect("title", session.title, "Rivers")
    expect("title_source", session.title_source, session_pb2.TITLE_SOURCE_USER)
    expect("workspace", session.workspace, "/maps/rivers")
    expect("labels", dict(session.labels), {"kind": "smoke"})
    expect("state", session.state, session_pb2.SESSION_STATE_ACTIVE)
    expect("revision", session.revision, 1)
    expect("message_count", session.message_count, 0)
    expect_some("etag", session.etag)
    expect_some("create_time", session.HasField("create_time"))
    done("created a session")
    return session.session_id


def append(sessions, session_id):
    tool_use = entry_pb2.ContentBlock(
        tool_use=entry_pb2.ToolUseBlock(tool_use_id="look up/1", name="map", input_json=INPUT_JSON)
    )
    appended = sessions.call(
        "AppendEntries",
        session_id=session_id,
        entries=[
            message_entry(entry_pb2.ROLE_USER, text_block(QUESTION)),
            message_entry(entry_pb2.ROLE_ASSISTANT, text_block(ANSWER), tool_use),
        ],
        expected_revision=1,
    )
    expect("first_seq", appended.first_seq, 1)
    expect("last_seq", appended.last_seq, 2)
    expect("entries_added", appended.entries_added, 2)
    expect("revision", appended.session.revision, 2)
    expect("message_count", appended.session.message_count, 2)
    expect("preview", appended.session.preview, QUESTION)
    appended = sessions.call(
        "AppendEntries",
        session_id=session_id,
        entries=[message_entry(entry_pb2.ROLE_USER, text_block(SECOND_QUESTION))],
    )
    expect("first_seq", appended.first_seq, 3)
    expect("revision", appended.session.revision, 3)
    expect("has_user_interaction", appended.session.has_user_interaction, True)
    done("appended a question, an answer and a second question")


def read(sessions, session_id):
    listed = sessions.call("ListSessions")
    expect("listed sessions", [session.session_id for session in listed.sessions], [session_id])
    page = sessions.call("ListEntries", session_id=session_id, page_size=2)
    expect("seqs of the first page", [entry.seq for entry in page.entries], [1, 2])
    expect_some("next_page_token", page.next_page_token)
    rest = sessions.call("ListEntries", session_id=session_id, page_size=2, page_token=page.next_page_token)
    expect("seqs of the last page", [entry.seq for entry in rest.entries], [3])
    expect("last next_page_token", rest.next_page_token, "")
    for entry in [*page.entries, *rest.entries]:
        expect_some("entry_id", entry.entry_id)
        expect("message_id", entry.message.message_id, entry.entry_id)
    messages = messages_of(sessions, session_id)
    expect("texts", texts(messages), [QUESTION, ANSWER, SECOND_QUESTION])
    roles = [entry_pb2.ROLE_USER, entry_pb2.ROLE_ASSISTANT, entry_pb2.ROLE_USER]
    expect("roles", [message.role for message in messages], roles)
    expect("input_json", messages[1].content[1].tool_use.input_json, INPUT_JSON)
    done("listed entries in two pages and streamed the messages")


def fork(sessions, session_id):
    forked = sessions.call("ForkSession", session_id=session_id, user_message_index=1)
    expect("removed_message", texts([forked.removed_message]), [SECOND_QUESTION])
    expect("title", forked.session.title, "Rivers (fork 1)")
    expect("workspace", forked.session.workspace, "/maps/rivers")
    expect("message_count", forked.session.message_count, 2)
    expect("origin.session_id", forked.session.origin.session_id, session_id)
    expect("origin.entry_seq", forked.session.origin.entry_seq, 2)
    expect("origin.depth", forked.session.origin.depth, 1)
    expect("texts of the fork", texts(messages_of(sessions, forked.session.session_id)), [QUESTION, ANSWER])
    origin = sessions.call("GetSession", session_id=session_id).session
    expect("message_count of the forked session", origin.message_count, 3)
    expect("revision of the forked session", origin.revision, 3)
    done("forked it before the second question")


def run_thread(threads):
    thread = threads.call("CreateThread", thread=thread_pb2.Thread(workspace="/maps", model="small")).thread
    expect_some("thread_id", thread.thread_id)
    expect("state", thread.state, thread_pb2.THREAD_STATE_OPEN)
    turn = threads.call("StartTurn", thread_id=thread.thread_id).turn
    expect_some("turn_id", turn.turn_id)
    active = threads.call("GetThread", thread_id=thread.thread_id).thread
    expect("active_turn_id", active.active_turn_id, turn.turn_id)
    appended = threads.call(
        "AppendItems",
        thread_id=thread.thread_id,
        turn_id=turn.turn_id,
        items=[
            item(thread_pb2.ITEM_KIND_USER_MESSAGE, QUESTION),
            item(thread_pb2.ITEM_KIND_AGENT_MESSAGE, ANSWER),
        ],
    )
    expect("first_seq", appended.first_seq, 1)
    expect("last_seq", appended.last_seq, 2)
    finished = threads.call(
        "FinishTurn",
        thread_id=thread.thread_id,
        turn_id=turn.turn_id,
        status=thread_pb2.TURN_STATUS_COMPLETED,
        usage=entry_pb2.Usage(input_tokens=11, output_tokens=7),
    ).turn
    expect("status", finished.status, thread_pb2.TURN_STATUS_COMPLETED)
    expect_some("end_time", finished.HasField("end_time"))
    listed = threads.call("ListItems", thread_id=thread.thread_id)
    expect("seqs of items", [item.seq for item in listed.items], [1, 2])
    expect("turns of items", {item.turn_id for item in listed.items}, {turn.turn_id})
    done("ran a turn of two items in a thread")
    return thread.thread_id


def save(sessions, thread_id):
    saved = sessions.call("SaveSession", thread_id=thread_id)
    expect("created", saved.created, True)
    expect("message_count", saved.message_count, 2)
    expect("title", saved.session.title, QUESTION)
    expect("title_source", saved.session.title_source, session_pb2.TITLE_SOURCE_DERIVED)
    expect("thread_id", saved.session.thread_id, thread_id)
    expect("workspace", saved.session.workspace, "/maps")
    expect("model", saved.session.model, "small")
    expect("output_tokens", saved.session.usage.output_tokens, 7)
    messages = messages_of(sessions, saved.session.session_id)
    expect("texts", texts(messages), [QUESTION, ANSWER])
    expect("roles", [message.role for message in messages], [entry_pb2.ROLE_USER, entry_pb2.ROLE_ASSISTANT])
    again = sessions.call("SaveSession", thread_id=thread_id)
    expect("created again", again.created, False)
    expect("session_id again", again.session.session_id, saved.session.session_id)
    expect("message_count again", again.message_count, 2)
    done("saved the thread twice into one session")


def snapshot(sessions, threads, engines, engine):
    """Saves what a live engine holds: between turns, in the middle of one, and after it."""
    # ThreadOpened is not answered: that the thread is the engine's shows here.
    listed = until("a thread that is run", lambda: engines.call("ListEngines").engines, lambda all: all[0].threads == 1)
    expect("attached engines", [one.engine_id for one in listed], ["first"])
    expect("accepts_resume", listed[0].accepts_resume, True)
    engine.tell("turn")
    turn = engine.until("turn_ended")
    taken = sessions.call("SnapshotFromEngine")
    session_id = taken.session.session_id
    expect("created", taken.created, True)
    expect("message_count", taken.message_count, turn["messages"])
    expect("thread_id", taken.session.thread_id, turn["thread_id"])
    expect("model", taken.session.model, "gpt-4o")
    expect("incomplete_turn", taken.session.incomplete_turn, False)
    expect("owner", threads.call("GetThread", thread_id=turn["thread_id"]).thread.engine_id, "first")
    done("took a snapshot of a live thread")

    engine.tell("begin")
    engine.until("turn_started")
    at_once = engine_pb2.SNAPSHOT_CONSISTENCY_IMMEDIATE
    taken = sessions.call("SnapshotFromEngine", thread_id=turn["thread_id"], consistency=at_once)
    expect("message_count in mid-turn", taken.message_count, turn["messages"] + 1)
    expect("delta in mid-turn", taken.delta, True)
    expect("incomplete_turn in mid-turn", taken.session.incomplete_turn, True)

    answers = []
    waiting = threading.Thread(target=lambda: answers.append(sessions.call("SnapshotFromEngine")))
    waiting.start()
    engine.until("snapshot_waits")
    engine.tell("end")
    waiting.join(DEADLINE_S)
    expect("answers at the turn's end", len(answers), 1)
    ended = engine.until("turn_ended")
    expect("session_id", answers[0].session.session_id, session_id)
    expect("message_count after the turn", answers[0].message_count, ended["messages"])
    expect("incomplete_turn after the turn", answers[0].session.incomplete_turn, False)
    done("took one in mid-turn, and one that waited for its end")
    return session_id


def resume(sessions, threads, session_id, second):
    """Resumes a fork into another engine, which goes on with it."""
    forked = sessions.call("ForkSession", session_id=session_id, user_message_index=1).session
    progress = [one.progress for one in sessions.call("Resume", session_id=forked.session_id, engine_id="second")]
    last = progress[-1]
    expect("state", last.state, resume_pb2.RESUME_STATE_READY)
    expect("engine_id", last.engine_id, "second")
    expect("items", (last.items_written, last.items_total), (forked.message_count, forked.message_count))
    counts = [one.items_written for one in progress]
    expect("progress", counts, sorted(counts))
    seeded = second.until("seeded")
    expect("seeded thread", (seeded["thread_id"], seeded["messages"]), (last.thread_id, forked.message_count))
    watched = [one.progress for one in sessions.call("WatchResume", resume_id=last.resume_id)]
    expect("watched", [one.state for one in watched], [resume_pb2.RESUME_STATE_READY])
    again = [one.progress for one in sessions.call("Resume", session_id=forked.session_id, engine_id="second")][-1]
    expect("reused", (again.reused, again.thread_id), (True, last.thread_id))
    done("resumed a fork into a second engine")

    before = messages_of(sessions, forked.session_id)
    second.tell("turn")
    turn = second.until("turn_ended")
    taken = sessions.call("SnapshotFromEngine", thread_id=last.thread_id)
    expect("session_id", taken.session.session_id, forked.session_id)
    expect("created", taken.created, False)
    expect("delta", taken.delta, True)
    expect("message_count", taken.message_count, turn["messages"])
    after = messages_of(sessions, forked.session_id)
    expect("messages before the turn", after[: len(before)], before)
    items = threads.call("ListItems", thread_id=last.thread_id)
    expect("first item", items.items[0].item_id, before[0].message_id)
    expect("statuses", {item.status for item in items.items}, {thread_pb2.TURN_STATUS_COMPLETED})
    done("and went on with it there")


def refuse(sessions):
    try:
        sessions.call("SearchMessages", query="?!")
    except grpc.RpcError as error:
        expect("code", error.code(), grpc.StatusCode.INVALID_ARGUMENT)
        status = rpc_status.from_call(error)
        expect_some("google.rpc.Status", status)
        infos = []
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                infos.append((info.reason, info.domain))
        expect("ErrorInfo", infos, [("FIELD_INVALID", "sessiond")])
    else:
        raise Mismatch("SearchMessages: got OK, want INVALID_ARGUMENT")
    done("was refused a search for nothing, with the reason")


def check_health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ["", "sessiond.v1.SessionService"]:
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=DEADLINE_S)
        expect(f"health of {service!r}", answer.status, health_pb2.HealthCheckResponse.SERVING)
    done("found it healthy")


def reflect(channel):
    """Asks v1alpha, the one reflection that older clients know."""
    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    for service in ["sessiond.v1.SessionService", "sessiond.v1.ThreadService", "sessiond.v1.EngineService"]:
        expect(f"{service} is listed", service in services, True)
    pool = DescriptorPool(database)
    methods = pool.FindServiceByName("sessiond.v1.SessionService").methods_by_name
    expect("output of ForkSession", methods["ForkSession"].output_type.full_name, "sessiond.v1.ForkSessionResponse")
    payload = pool.FindMessageTypeByName("sessiond.v1.Entry").fields_by_name["message"].message_type
    expect_some("type of Entry.message", payload)
    expect("type of Entry.message", payload.full_name, "sessiond.v1.Message")
    done("read the protos by reflection")


def walk(channel, address):
    sessions = Service(session_service_pb2_grpc.SessionServiceStub(channel), session_service_pb2)
    threads = Service(thread_service_pb2_grpc.ThreadServiceStub(channel), thread_service_pb2)
    check_health(channel)
    session_id = create(sessions)
    append(sessions, session_id)
    read(sessions, session_id)
    fork(sessions, session_id)
    save(sessions, run_thread(threads))
    engines = Service(engine_service_pb2_grpc.EngineServiceStub(channel), engine_service_pb2)
    with ReplayEngine(address, NAMESPACE, "first") as first:
        live_session_id = snapshot(sessions, threads, engines, first)
        with ReplayEngine(address, NAMESPACE, "second", "--wait") as second:
            resume(sessions, threads, live_session_id, second)
        expect("exit code of an engine", second.exit_code, 0)
    expect("engines that stay", list(engines.call("ListEngines").engines), [])
    done("saw both engines leave")
    refuse(sessions)
    reflect(channel)


def main():
    if len(sys.argv) != 2:
        print("usage: smoke.py ADDR", file=sys.stderr)
        return 2
    with grpc.insecure_channel(sys.argv[1]) as channel:
        try:
            walk(channel, sys.argv[1])
        except Mismatch as mismatch:
            print(f"smoke: {mismatch}", file=sys.stderr)
            return 1
        except (TimeoutError, EOFError) as error:
            print(f"smoke: {error}", file=sys.stderr)
            return 1
        except grpc.RpcError as error:
            print(f"smoke: {error.code().name}: {error.details()}", file=sys.stderr)
            return 1
    done("all answers are as promised")
    return 0


if __name__ == "__main__":
    sys.exit(main())

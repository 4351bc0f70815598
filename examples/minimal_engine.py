"""A whole engine: `minimal_engine.py HOST:PORT [ENGINE_ID]`. Every line of standard input is a question to it."""

import queue
import sys
import threading
import time
import uuid

import grpc
from sessiond.v1 import engine_pb2 as e, engine_service_pb2, engine_service_pb2_grpc, entry_pb2, thread_pb2


def message(role: int, text: str) -> entry_pb2.Message:
    content = [entry_pb2.ContentBlock(text=entry_pb2.TextBlock(text=text))]
    return entry_pb2.Message(message_id=str(uuid.uuid4()), role=role, content=content)


class Engine:
    def __init__(self, address: str, engine_id: str = "minimal") -> None:
        self.stub = engine_service_pb2_grpc.EngineServiceStub(grpc.insecure_channel(address))
        self.hello = e.Hello(engine_id=engine_id, accepts_resume=True, sdk="minimal_engine.py")
        self.threads: dict[str, list[entry_pb2.Message]] = {f"{engine_id}-1": []}
        self.seeds: dict[str, tuple[str, list[entry_pb2.Message]]] = {}
        self.interval = 5.0

    def send(self, **frame) -> None:
        self.up.put(engine_service_pb2.AttachRequest(**frame))

    def frames(self, up: queue.Queue):
        yield engine_service_pb2.AttachRequest(hello=self.hello)
        while up is self.up:  # until it attaches anew
            try:
                yield up.get(timeout=self.interval)
            except queue.Empty:
                yield engine_service_pb2.AttachRequest(heartbeat=e.Heartbeat())

    def run(self) -> None:
        while True:
            self.up: queue.Queue = queue.Queue(256)
            try:
                for frame in self.stub.Attach(self.frames(self.up)):
                    kind = frame.WhichOneof("frame")
                    getattr(self, kind or "", lambda _: None)(getattr(frame, kind or "welcome"))
            except grpc.RpcError as error:
                print(f"detached: {error.code().name} {error.details()}", flush=True)
            time.sleep(1)

    def welcome(self, welcome: e.Welcome) -> None:
        self.interval = welcome.heartbeat_interval.ToTimedelta().total_seconds()
        for thread_id in self.threads:
            self.send(thread_opened=e.ThreadOpened(thread=thread_pb2.Thread(thread_id=thread_id)))

    def snapshot_request(self, ask: e.SnapshotRequest) -> None:
        snapshot = e.EngineSnapshot(messages=self.threads.get(ask.thread_id, []))  # from 2 MiB on: in parts
        self.send(snapshot_reply=e.SnapshotReply(ask_id=ask.ask_id, snapshot=snapshot, last=True))

    def seed_begin(self, seed: e.SeedBegin) -> None:
        self.seeds.setdefault(seed.seed_id, (seed.thread.thread_id, []))  # repeated when it attaches anew

    def seed_batch(self, batch: e.SeedBatch) -> None:
        taken = self.seeds[batch.seed_id][1]
        taken[batch.first_index :] = batch.messages
        self.send(seed_ack=e.SeedAck(seed_id=batch.seed_id, items=len(taken)))

    def seed_commit(self, commit: e.SeedCommit) -> None:
        thread_id, taken = self.seeds.pop(commit.seed_id)
        self.threads[thread_id] = taken
        self.send(thread_opened=e.ThreadOpened(thread=thread_pb2.Thread(thread_id=thread_id)))

    def seed_cancel(self, cancel: e.SeedCancel) -> None:
        self.seeds.pop(cancel.seed_id, None)


if __name__ == "__main__":
    engine = Engine(*sys.argv[1:])
    threading.Thread(target=engine.run, daemon=True).start()
    for line in map(str.strip, sys.stdin):
        talk = list(engine.threads.values())[-1]
        talk += [message(entry_pb2.ROLE_USER, line), message(entry_pb2.ROLE_ASSISTANT, line[::-1])]

"""Engines of smoke.py: examples/replay_engine.py as a process of its own, told what to do and heard by line."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONVERSATIONS = ROOT / "assets" / "airline.jsonl"
DEADLINE_S = 20


class ReplayEngine:
    """A replaying engine; leave the `with` block, and it has said goodbye."""

    def __init__(self, address: str, namespace: str, engine_id: str, *options: str) -> None:
        command = [sys.executable, str(ROOT / "examples" / "replay_engine.py"), "--addr", address]
        command += ["--namespace", namespace, "--engine-id", engine_id, "--file", str(CONVERSATIONS), *options]
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> ReplayEngine:
        self.until("attached")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.tell("quit")
            self._process.wait(DEADLINE_S)
        finally:
            self._process.kill()

    def tell(self, command: str) -> None:
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def until(self, event: str) -> dict[str, Any]:
        """What the engine says of the next event of this kind; other events are passed over."""
        while True:
            try:
                said = self._said.get(timeout=DEADLINE_S)
            except queue.Empty:
                raise TimeoutError(f"the engine did not say {event!r} within {DEADLINE_S} s") from None
            if said["event"] == event:
                return said
            if said["event"] == "ended":
                raise EOFError(f"the engine ended before it said {event!r}")

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def _listen(self) -> None:
        for line in self._process.stdout:
            self._said.put(json.loads(line))
        self._said.put({"event": "ended"})

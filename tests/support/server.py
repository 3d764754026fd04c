"""Starts `immich-triton serve` as a user does, and speaks to it as Immich does."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import psutil
from numpy.typing import NDArray

from adapter.embedded import free_port

START_TIMEOUT_S = 60

ROUNDS = 10

T = TypeVar("T")
NewState = Callable[[], Path]


class Asked:
    """What is asked as Immich asks its machine-learning URL."""

    client: httpx.Client

    def predict(
        self, entries: dict[str, Any], image: bytes | None = None, text: str | None = None
    ) -> httpx.Response:
        """`POST /predict`, as Immich sends it."""
        data = {"entries": json.dumps(entries), **({} if text is None else {"text": text})}
        files = {"image": ("blob", image)} if image is not None else {"": ("", b"")}
        return self.client.post("/predict", data=data, files=files)

    def clip(self, name: str, image: bytes | None = None, text: str | None = None) -> NDArray[np.float32]:
        """The vector of a picture or a text."""
        kind = "visual" if image is not None else "textual"
        answer = self.predict({"clip": {kind: {"modelName": name}}}, image, text)
        assert answer.status_code == 200, answer.text
        return np.array(json.loads(answer.json()["clip"]), np.float32)

    @staticmethod
    def connect(url: str) -> httpx.Client:
        return httpx.Client(base_url=url, timeout=300, limits=httpx.Limits(max_connections=64))


class Server(Asked):
    """A service of its own port, state folder and Triton; a context manager.

    Args:
        state: the state folder.
        models: the cache folder; an empty one if there is none.
        variables: more of the environment.
    """

    def __init__(self, state: Path, models: Path | None = None, **variables: str) -> None:
        self.port = free_port()
        self.triton_port = free_port()
        self.log = state / "serve.log"
        (cache := models or state / "cache").mkdir(exist_ok=True)
        self._environment = {
            **os.environ,
            "IMMICH_HOST": "127.0.0.1",
            "IMMICH_PORT": str(self.port),
            "IMMICH_TRITON_PORT": str(self.triton_port),
            "IMMICH_TRITON_STATE_FOLDER": str(state),
            "MACHINE_LEARNING_CACHE_FOLDER": str(cache),
            "HF_HUB_OFFLINE": "1",
            "IMMICH_TRITON_STOP_NOTICE_S": "0",
            "IMMICH_TRITON_STOP_GRACE_S": "5",
            **variables,
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def triton_url(self) -> str:
        return f"http://127.0.0.1:{self.triton_port}"

    def __enter__(self) -> "Server":
        self.client = self.connect(self.url)
        self.start()
        return self

    def start(self) -> None:
        """Starts the service, which is not there yet or has ended, and waits for it."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "adapter", "serve"], env=self._environment, stdout=log, stderr=log
            )
        self.wait_for_ping()

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def wait_for_ping(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Waits until `/ping` says pong."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self.client.get("/ping").text == "pong":
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"the service did not start:\n{self.log.read_text()}")

    def children(self) -> list[psutil.Process]:
        """Triton, and all that it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stubs(self) -> dict[str, psutil.Process]:
        """The Python processes by the model that they serve."""
        found = {}
        for process in self.children():
            with suppress(psutil.NoSuchProcess):  # it ends while we look
                command = process.cmdline()
                if command and "stub" in command[0]:
                    found[Path(command[1]).parts[-3]] = process
        return found

    def until_batched(self, ask: Callable[[], T], *models: str) -> T:
        """The answers to requests sent at once, of a round in which two of them met in a batch of each model.

        Whether they meet is up to the machine: there are ten rounds.
        """
        for _ in range(ROUNDS):
            before = [self._saved(model) for model in models]
            answers = ask()
            if all(self._saved(model) > then for model, then in zip(models, before, strict=True)):
                return answers
        raise AssertionError(f"no two requests met in a batch of {models}")

    def _saved(self, model: str) -> int:
        """How many runs less there were than requests."""
        seen = self.statistics(model)
        return int(seen["inference_stats"]["success"]["count"] - seen["execution_count"])

    def steps(self) -> set[str]:
        """The prepared models that a process of their own serves: all but ensembles."""
        configs = self.log.parent.glob("model_repository/*/config.pbtxt")
        return {path.parent.name for path in configs if "ensemble_scheduling" not in path.read_text()}

    def statistics(self, model: str) -> dict[str, Any]:
        """Triton's own counters of a model."""
        answer = httpx.get(f"{self.triton_url}/v2/models/{model}/stats").json()
        statistics: dict[str, Any] = answer["model_stats"][0]
        return statistics

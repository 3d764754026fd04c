"""The stack of docker-compose.yml, under a project name and on a port of its own; speaks to it as Immich does."""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from adapter.embedded import free_port
from tests.support.load import Load

ROOT = Path(__file__).resolve().parents[2]
BUILD_TIMEOUT_S = 1800
START_TIMEOUT_S = 180
DOCKER_INIT = {"C /usr", "C /usr/sbin", "A /usr/sbin/docker-init"}
"""Where Docker mounts its own init, because of `init: true`: in every such container, written by no process of it."""


def compose_command() -> list[str] | str:
    """How Compose is called here; or why the stack cannot be run."""
    try:
        if _succeeds("docker", "version"):
            for command in (["docker", "compose"], ["docker-compose"]):
                if _succeeds(*command, "version"):
                    return command
            return "Docker Compose is not installed here"
    except subprocess.TimeoutExpired:
        return "the Docker engine does not answer"
    return "no Docker engine answers here"


class Stack:
    """One project; `down` it at the end, in any case."""

    def __init__(self, compose: list[str], folder: Path, variables: Mapping[str, str]) -> None:
        self.project = f"immich-triton-test-{os.getpid()}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        chosen = {
            "COMPOSE_PROFILES": "cpu",
            "ADAPTER_BIND": "127.0.0.1",
            "ADAPTER_PORT": str(self.port),
            "ADAPTER_IMAGE": "immich-triton-test-adapter",
            "TRITON_CPU_IMAGE": "immich-triton-test-cpu",
            "HF_HUB_OFFLINE": "1",
            **variables,
        }
        file = folder / "test.env"  # instead of the user's own .env
        file.write_text("".join(f"{name}={value}\n" for name, value in chosen.items()))
        self._compose = [*compose, "--env-file", str(file), "-p", self.project]
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG")
        }

    def compose(self, *arguments: str) -> str:
        return _run([*self._compose, *arguments], self._environment)

    def docker(self, *arguments: str) -> str:
        return _run(["docker", *arguments], self._environment)

    def container(self, service: str) -> str:
        """The id of a service's container: `triton-cpu` or `adapter-cpu`."""
        return self.compose("ps", "-q", service).strip()

    def inside(self, service: str, script: str) -> str:
        """What a shell script prints in a service's container."""
        return self.docker("exec", self.container(service), "bash", "-c", script)

    def up(self) -> None:
        """Starts everything, and waits until Docker says that the adapter is healthy."""
        self.compose("up", "-d", "--no-build")
        self.wait_for_health("adapter-cpu")

    def wait_for_health(self, service: str) -> None:
        end = time.monotonic() + START_TIMEOUT_S
        while (health := self._health(service)) != "healthy":
            assert time.monotonic() < end, f"{service} is {health}:\n{self.compose('logs', '--tail', '50')}"
            time.sleep(0.2)

    def leftovers(self) -> list[str]:
        """Ids of this project's containers, volumes and networks."""
        label = f"label=com.docker.compose.project={self.project}"
        kinds = (("ps", "-aq"), ("volume", "ls", "-q"), ("network", "ls", "-q"))
        return [line for kind in kinds for line in self.docker(*kind, "--filter", label).split()]

    def clip(self, model: str, **body: Any) -> httpx.Response:
        """`POST /predict` for a picture (`image=`) or a text (`text=`)."""
        kind = "visual" if "image" in body else "textual"
        data = {"entries": json.dumps({"clip": {kind: {"modelName": model}}})}
        if "image" in body:
            files = {"image": ("blob", body["image"])}
            return httpx.post(f"{self.url}/predict", data=data, files=files, timeout=300)
        return httpx.post(f"{self.url}/predict", data={**data, **body}, files={"": ("", b"")}, timeout=300)

    def load(self, model: str, image: bytes) -> Load:
        """Clients that send a picture; what becomes of a request is its status, or all that went wrong."""

        def outcome() -> str:
            try:
                answer = self.clip(model, image=image)
                return f"{answer.status_code} {'' if answer.is_success else answer.text}".strip()
            except httpx.HTTPError as error:
                return repr(error)

        return Load(outcome)

    def _health(self, service: str) -> str:
        container = self.container(service)
        return self.docker("inspect", "-f", "{{.State.Health.Status}}", container).strip()


def _run(command: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False

"""The image, alone or as the stack of docker-compose.yml, with a name and a port of its own; asked as Immich asks."""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from adapter.embedded import free_port
from tests.support.load import Load

ROOT = Path(__file__).resolve().parents[2]
BUILD_TIMEOUT_S = 1800
START_TIMEOUT_S = 180


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


class Engine:
    """What a test asks of Docker, and of the service that Docker runs."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG")
        }

    def docker(self, *arguments: str) -> str:
        return _run(["docker", *arguments], self._environment)

    def run_in(self, container: str, script: str) -> str:
        """What a shell script prints in a container."""
        return self.docker("exec", container, "bash", "-c", script)

    def wait_until_healthy(self, container: str) -> None:
        end = time.monotonic() + START_TIMEOUT_S
        asked = ("inspect", "-f", "{{.State.Health.Status}}", container)
        while (health := self.docker(*asked).strip()) != "healthy":
            assert time.monotonic() < end, f"{health}:\n{self.docker('logs', '--tail', '50', container)}"
            time.sleep(0.2)

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


class Alone(Engine):
    """One container of an image, with a port and a volume: a context manager, which leaves neither behind."""

    def __init__(self, image: str, name: str, user: str) -> None:
        super().__init__()
        self.image, self.name, self.user = image, name, user

    def __enter__(self) -> Self:
        options = (
            f"--user {self.user} --read-only --tmpfs /tmp --shm-size 512m --cap-drop ALL "
            f"--security-opt no-new-privileges -v {self.name}:/cache -p 127.0.0.1:{self.port}:3003 "
            f"-e HF_HUB_OFFLINE=1"
        )
        self.docker("run", "-d", "--name", self.name, *options.split(), self.image)
        return self

    def __exit__(self, *_: object) -> None:
        self.docker("rm", "-f", self.name)
        self.docker("volume", "rm", self.name)

    def inside(self, script: str) -> str:
        return self.run_in(self.name, script)


class Stack(Engine):
    """One project; `down` it at the end, in any case.

    Attributes:
        front: the same service, asked through HAProxy.
    """

    def __init__(self, compose: list[str], folder: Path, variables: Mapping[str, str]) -> None:
        super().__init__()
        self.project = f"immich-triton-test-{os.getpid()}"
        self.front = Engine()
        chosen = {
            "COMPOSE_PROFILES": "cpu,front",
            "FRONT_BIND": "127.0.0.1",
            "FRONT_PORT": str(self.front.port),
            "FRONT_IMAGE": "immich-triton-test-front",
            "ADAPTER_BIND": "127.0.0.1",
            "ADAPTER_PORT": str(self.port),
            "IMMICH_TRITON_IMAGE": "immich-triton-test",
            "HF_HUB_OFFLINE": "1",
            **variables,
        }
        file = folder / "test.env"  # instead of the user's own .env
        file.write_text("".join(f"{name}={value}\n" for name, value in chosen.items()))
        self._compose = [*compose, "--env-file", str(file), "-p", self.project]

    def compose(self, *arguments: str) -> str:
        return _run([*self._compose, *arguments], self._environment)

    def container(self, service: str) -> str:
        """The id of a service's container: `triton-cpu`, `adapter-cpu` or `front`."""
        return self.compose("ps", "-q", service).strip()

    def inside(self, service: str, script: str) -> str:
        """What a shell script prints in a service's container."""
        return self.run_in(self.container(service), script)

    def up(self) -> None:
        """Starts everything, and waits until Docker says that the adapter is healthy."""
        self.compose("up", "-d", "--no-build")
        self.wait_for_health("adapter-cpu")

    def wait_for_health(self, service: str) -> None:
        self.wait_until_healthy(self.container(service))

    def leftovers(self) -> list[str]:
        """Ids of this project's containers, volumes and networks."""
        label = f"label=com.docker.compose.project={self.project}"
        kinds = (("ps", "-aq"), ("volume", "ls", "-q"), ("network", "ls", "-q"))
        return [line for kind in kinds for line in self.docker(*kind, "--filter", label).split()]


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

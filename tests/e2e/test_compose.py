"""docker-compose.yml's profiles `cpu` and `front`, built and really run."""

import io
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from demo.models.clip import NAME
from tests.support.compose import START_TIMEOUT_S, Stack, compose_command
from tests.support.shared import SHARED

pytestmark = pytest.mark.triton

SERVICES = ("triton-cpu", "adapter-cpu")
TRITON_PORTS = (8000, 8001, 8002)
UID = "10001"
KILL_TRITON = (
    'for f in /proc/[0-9]*/comm; do [[ $(<$f) == tritonserver ]] && kill -9 "${f//[^0-9]/}"; done; true'
)
FILES = "find /state /cache /key /tmp -printf '%p %s %y %T@\\n' | sort"
ASK_TRITON = """python3 - <<'END'
import urllib.error, urllib.request
key = open("/key/repository-key").read()
for headers in ({}, {"immich-triton-key": "wrong"}, {"immich-triton-key": key}):
    for path in ("index", "models/x/load", "models/x/unload"):
        url = f"http://triton:8000/v2/repository/{path}"
        try:
            print(urllib.request.urlopen(urllib.request.Request(url, b"{}", headers)).status)
        except urllib.error.HTTPError as error:
            print(error.code)
END"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The images, built, and the stack, healthy; in the end nothing of it may be left."""
    compose = compose_command()
    if isinstance(compose, str):
        pytest.skip(compose)
    models = {"MODEL_CACHE": str(SHARED / "models"), "MODEL_CACHE_ACCESS": "ro"} if SHARED.exists() else {}
    stack = Stack(compose, tmp_path_factory.mktemp("compose"), models)
    try:
        stack.compose("build")
        stack.up()
        yield stack
    finally:
        stack.compose("down", "-v")
    assert stack.leftovers() == []


@pytest.fixture(scope="module")
def picture() -> bytes:
    """A preview as Immich sends it."""
    pixels = np.random.default_rng(0).integers(0, 255, (45, 60, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).resize((1440, 1080)).save(content, "JPEG", quality=80)
    return content.getvalue()


def test_the_originals_answers_hold_through_the_published_port(stack: Stack, shared: Path) -> None:
    command = [sys.executable, str(shared / "golden/check"), stack.url, "--release", "3.3"]
    check = subprocess.run(command, capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr


def test_without_models_and_without_network_the_demo_model_answers(stack: Stack) -> None:
    assert stack.clip(NAME, text="sunset").status_code == 200


def test_no_request_fails_when_triton_crashes(stack: Stack, picture: bytes) -> None:
    started = stack.docker("inspect", "-f", "{{.State.StartedAt}}", stack.container("triton-cpu"))
    with stack.load(NAME, picture) as load:
        load.wait_for_answers(40, START_TIMEOUT_S)
        stack.inside("triton-cpu", KILL_TRITON)
        load.wait_for_answers(80, START_TIMEOUT_S)
    assert set(load.outcomes) == {"200"}
    assert stack.docker("inspect", "-f", "{{.State.StartedAt}}", stack.container("triton-cpu")) != started


def test_no_request_fails_when_tritons_container_is_killed_and_started_again(
    stack: Stack, picture: bytes
) -> None:
    container = stack.container("triton-cpu")
    with stack.load(NAME, picture) as load:
        load.wait_for_answers(40, START_TIMEOUT_S)
        stack.docker("kill", container)  # Docker takes this for a wish, and does not start it again by itself
        stack.docker("start", container)
        load.wait_for_answers(80, START_TIMEOUT_S)
    assert set(load.outcomes) == {"200"}


def test_an_update_costs_no_request_that_comes_through_the_front(stack: Stack, picture: bytes) -> None:
    before = [stack.container(service) for service in SERVICES]
    with stack.front.load(NAME, picture) as load:
        load.wait_for_answers(40, START_TIMEOUT_S)
        stack.compose("up", "-d", "--no-build", "--no-deps", "--force-recreate", *SERVICES)
        stack.wait_for_health("adapter-cpu")
        load.wait_for_answers(80, START_TIMEOUT_S)
    assert set(load.outcomes) == {"200"}
    assert not {stack.container(service) for service in SERVICES} & {*before}


def test_a_front_that_is_up_before_its_host_has_a_name_holds_what_comes(stack: Stack, picture: bytes) -> None:
    stack.compose("rm", "-s", "-f", "front", "adapter-cpu")
    stack.compose("up", "-d", "--no-build", "--no-deps", "front")
    with stack.front.load(NAME, picture) as load:
        time.sleep(3)
        stack.compose("up", "-d", "--no-build", "--no-deps", "adapter-cpu")
        load.wait_for_answers(40, START_TIMEOUT_S)
        stack.compose("stop", "adapter-cpu")
        time.sleep(3)
        stack.compose("start", "adapter-cpu")
        load.wait_for_answers(80, START_TIMEOUT_S)
    assert set(load.outcomes) == {"200"}
    stack.wait_for_health("adapter-cpu")


def test_predictions_leave_nothing_behind(stack: Stack, picture: bytes) -> None:
    stack.wait_for_health("adapter-cpu")
    assert stack.clip(NAME, image=picture).status_code == 200  # loads the model
    before = [stack.inside(service, FILES) for service in SERVICES]
    statuses = Counter(stack.clip(NAME, image=picture).status_code for _ in range(100))
    assert statuses == {200: 100}
    assert [stack.inside(service, FILES) for service in SERVICES] == before
    for service in SERVICES:
        assert stack.docker("diff", stack.container(service)) == ""


def test_a_new_stack_finds_the_prepared_models(stack: Stack, picture: bytes) -> None:
    assert stack.clip(NAME, image=picture).status_code == 200
    prepared = "find /state/model_repository -name preparation.json -printf '%p %i %T@\\n' | sort"
    before = stack.inside("adapter-cpu", prepared)
    key = stack.inside("triton-cpu", "cat /key/repository-key")
    stack.compose("down")
    stack.up()
    assert stack.clip(NAME, image=picture).status_code == 200
    assert f"{NAME}.visual" in before
    assert stack.inside("adapter-cpu", prepared) == before
    assert stack.inside("triton-cpu", "cat /key/repository-key") == key


def test_tritons_ports_are_not_open_on_this_host(stack: Stack) -> None:
    assert stack.docker("port", stack.container("triton-cpu")) == ""
    own = {a.address for found in psutil.net_if_addrs().values() for a in found if a.family == socket.AF_INET}
    assert "127.0.0.1" in own
    for address in own:  # those of Docker's bridges too
        for port in TRITON_PORTS:
            with socket.socket() as probe:
                probe.settimeout(2)
                assert probe.connect_ex((address, port)) != 0, f"{address}:{port} answers"


def test_the_adapter_is_published_where_it_was_asked_to_be_and_nowhere_else(stack: Stack) -> None:
    published = stack.docker("port", stack.container("adapter-cpu")).split()
    assert published == ["3003/tcp", "->", f"127.0.0.1:{stack.port}"]


def test_triton_lets_nobody_load_models_without_the_key(stack: Stack) -> None:
    statuses = stack.inside("adapter-cpu", ASK_TRITON).split()
    assert statuses[:6] == ["403"] * 6
    assert statuses[6] == "200"
    assert "403" not in statuses[7:]


def test_triton_is_in_no_network_that_leads_out(stack: Stack) -> None:
    names = stack.docker(
        "inspect",
        "-f",
        "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}",
        stack.container("triton-cpu"),
    ).split()
    assert names == [f"{stack.project}_triton"]
    assert stack.docker("network", "inspect", "-f", "{{.Internal}}", *names).split() == ["true"]


@pytest.mark.parametrize("service", (*SERVICES, "front"))
def test_no_process_has_a_privilege(stack: Stack, service: str) -> None:
    lines = stack.inside(
        service, "cat /proc/[0-9]*/status | grep -E '^(Uid|Gid|Groups|CapEff|CapBnd|NoNewPrivs):'"
    )
    found = {tuple(line.split()) for line in lines.splitlines()}
    assert {value for value in found if value[0] in ("Uid:", "Gid:")} == {
        ("Uid:", *[UID] * 4),
        ("Gid:", *[UID] * 4),
    }
    assert {("CapEff:", "0" * 16), ("CapBnd:", "0" * 16), ("NoNewPrivs:", "1")} <= found
    assert not {value for value in found if value[0].startswith("Cap") and int(value[1], 16)}


@pytest.mark.parametrize("service", (*SERVICES, "front"))
def test_the_images_files_cannot_be_changed(stack: Stack, service: str) -> None:
    script = 'for f in / /opt /usr/local/bin /etc; do touch "$f/x" 2>&1 && echo written; done; true'
    answers = stack.inside(service, script)
    assert answers.count("Read-only file system") == 4

"""The image alone, as `docker run` starts it: the adapter with its own Triton, one port, one volume."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from demo.models.clip import NAME
from tests.support.asking import LEMON
from tests.support.compose import ROOT, Alone, compose_command

pytestmark = pytest.mark.triton

IMAGE = "immich-triton-test:release"
PREPARED = "find /cache/immich-triton/model_repository -name preparation.json -printf '%p %i %T@\\n' | sort"
PRIVILEGES = "grep -hE '^(Uid|Gid|CapEff|NoNewPrivs):' /proc/[0-9]*/status | sort -u"


@pytest.fixture(scope="module", autouse=True)
def image() -> str:
    compose = compose_command()
    if isinstance(compose, str):
        pytest.skip(compose)
    build = ["docker", "build", "-f", "docker/Dockerfile", "-t", IMAGE, "."]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return IMAGE


def test_the_image_holds_no_key_no_model_and_nothing_temporary(image: str) -> None:
    find = [
        "docker",
        "run",
        "--rm",
        "--entrypoint",
        "find",
        image,
        "/cache",
        "/key",
        "/state",
        "/tls",
        "/tmp",
    ]
    assert subprocess.run([*find, "-type", "f"], capture_output=True, text=True, check=True).stdout == ""


@pytest.fixture(params=["10001:10001", "99:100"])
def alone(request: pytest.FixtureRequest, image: str) -> Iterator[Alone]:
    with Alone(image, f"immich-triton-test-{os.getpid()}", request.param) as running:
        yield running


def test_one_container_serves_without_privileges_and_finds_its_models_again(alone: Alone) -> None:
    alone.wait_until_healthy(alone.name)
    assert alone.clip(NAME, text="sunset").status_code == 200
    assert alone.clip(NAME, image=LEMON).status_code == 200
    uid, gid = alone.user.split(":")
    assert alone.inside(PRIVILEGES).split() == [
        *("CapEff:", "0" * 16, "Gid:", *[gid] * 4),
        *("NoNewPrivs:", "1", "Uid:", *[uid] * 4),
    ]
    assert alone.docker("diff", alone.name) == ""
    prepared = alone.inside(PREPARED)
    assert f"{NAME}.visual" in prepared
    alone.docker("restart", alone.name)
    alone.wait_until_healthy(alone.name)
    assert alone.clip(NAME, image=LEMON).status_code == 200
    assert alone.inside(PREPARED) == prepared


def test_onnx_runtime_leaves_no_telemetry(alone: Alone) -> None:
    alone.wait_until_healthy(alone.name)
    assert alone.clip(NAME, text="sunset").status_code == 200
    assert alone.inside("find /tmp -type f") == ""

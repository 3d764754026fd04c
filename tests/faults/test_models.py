"""Models that are slow to come, come broken or not at all, and models that nobody wants for a while."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from adapter.embedded import free_port
from demo.models.clip import NAME as DEMO
from tests.support import families
from tests.support.asking import LEMON, clip_entries
from tests.support.hub import Hub, running_hub
from tests.support.server import Server

pytestmark = pytest.mark.triton

NAME = "ViT-B-32__openai"
REPOSITORY = f"immich-app/{NAME}"
GRAPH = "visual/model.onnx"
WAIT_S = 30
TTL_S = 1


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen in {WAIT_S} s"
        time.sleep(0.01)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        hub.publish(REPOSITORY, families.open_clip(1))
        yield hub


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def serving(hub_url: str, state: Path, cache: Path, **more: str) -> Server:
    """A service that fetches from a hub, and is patient with one that says nothing."""
    variables = {"HF_HUB_OFFLINE": "0", "HF_HUB_DOWNLOAD_TIMEOUT": str(2 * WAIT_S)}
    return Server(state, cache, HF_ENDPOINT=hub_url, **variables, **more)


def ask(server: Server, kind: str = "visual", name: str = NAME) -> httpx.Response:
    payload = {"image": LEMON} if kind == "visual" else {"text": "yellow"}
    return server.predict(clip_entries(kind, name), **payload)


def visible(cache: Path) -> list[str]:
    """The files under the final names of the model."""
    folder = cache / "clip" / NAME
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path) for path in paths if not path.parts[0].startswith("."))


def test_ten_first_requests_start_one_download_and_hold_up_nobody_else(
    hub: Hub, state: Path, cache: Path
) -> None:
    slow = hub.order(GRAPH, pause_after=1000)
    with serving(hub.url, state, cache) as server, ThreadPoolExecutor(10) as pool:
        for kind in ("visual", "textual"):
            ask(server, kind, DEMO)
        first = [pool.submit(ask, server, kind) for kind in ("visual", "textual") * 5]
        wait_for(slow.reached.is_set, "the download's first byte")
        others = [ask(server, kind, DEMO).status_code for kind in ("visual", "textual") * 15]
        assert set(others) == {200}
        assert GRAPH not in visible(cache), "the others have waited for the download"
        assert not any(answer.done() for answer in first)
        slow.proceed.set()
        assert [answer.result().status_code for answer in first] == [200] * 10
    contents = [r.path for r in hub.asked() if "/cdn/" in r.path or r.path.endswith(".json")]
    assert len(contents) == len(set(contents)) == len(families.open_clip(1))
    assert len(hub.asked("/api/models/")) == 2, "a listing for each part"


def test_a_file_that_stays_corrupt_is_named_and_never_put_in_place(
    hub: Hub, state: Path, cache: Path
) -> None:
    fault = hub.order(GRAPH, times=-1, corrupt=True)
    with serving(hub.url, state, cache) as server:
        refused = ask(server)
        assert refused.status_code == 503
        assert f"{GRAPH} of {REPOSITORY}@" in refused.json()["detail"]
        assert "corrupt" in refused.json()["detail"]
        assert visible(cache) == []
        so_far = len(hub.requests)
        assert ask(server).json() == refused.json()
        assert len(hub.requests) == so_far, "the hub is not asked again for some time"
        assert ask(server, "textual").status_code == 200, "the other part is a model of its own"
        assert GRAPH not in visible(cache)
    fault.times = 0
    with serving(hub.url, state, cache) as server:
        assert ask(server).status_code == 200


def test_a_request_waits_for_a_hub_that_is_gone_and_says_so_when_its_time_is_over(
    state: Path, cache: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with serving(url, state, cache, IMMICH_TRITON_DEADLINE_S="3") as server:
        answer = ask(server)
        assert answer.status_code == 503
        assert "No answer within 3 s." in answer.json()["detail"]
    with serving(url, state, cache) as server, ThreadPoolExecutor(1) as pool:
        held = pool.submit(ask, server)
        wait_for(
            lambda: f"Waiting: {NAME} (clip visual) is not in the cache" in server.log.read_text(),
            "a line of the log",
        )
        assert "127.0.0.1 cannot be reached" in server.log.read_text()
        with running_hub(port) as hub:
            hub.publish(REPOSITORY, families.open_clip(1))
            assert held.result().status_code == 200


@pytest.fixture
def forgetful(state: Path, cache: Path) -> Iterator[Server]:
    """A service that unloads what nobody has used for a second."""
    ttl = {"MACHINE_LEARNING_MODEL_TTL": str(TTL_S), "MACHINE_LEARNING_MODEL_TTL_POLL_S": "0.2"}
    with Server(state, cache, **ttl) as server:
        yield server


def test_an_idle_model_is_unloaded_and_requests_that_meet_it_on_its_way_out_are_answered(
    forgetful: Server,
) -> None:
    expected = forgetful.clip(DEMO, LEMON)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert len(forgetful.stubs()) == 2
            wait_for(lambda: len(forgetful.stubs()) < 2, "the end of a stub")
            vectors = list(pool.map(lambda _: forgetful.clip(DEMO, LEMON), range(4)))
            np.testing.assert_allclose(vectors, [expected] * 4, atol=1e-4)
    wait_for(lambda: not forgetful.stubs(), "the end of all stubs")
    np.testing.assert_allclose(forgetful.clip(DEMO, LEMON), expected, atol=1e-4)

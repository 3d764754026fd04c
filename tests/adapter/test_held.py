"""A request waits for a model that cannot be had now: with the real way of fetching, and a hub on this host."""

import asyncio
from pathlib import Path
from typing import cast

from adapter.embedded import free_port
from adapter.preparation.door import Preparation, Prepared
from adapter.preparation.fetch.download import Downloads
from adapter.preparation.fetch.hub import Hub as Client
from adapter.preparation.fetch.sources import HubRepositories
from adapter.protocol import Part
from adapter.registry import Registry
from adapter.triton import Triton
from adapter.waits import PAUSES_S
from tests.support.downloads import REPOSITORY, VISUAL, VISUAL_FILES, clip_files
from tests.support.hub import running_hub
from tests.support.triton import FakePreparation, FakeTriton

AWAY_S = 60


class Fetching(FakePreparation):
    """Fetches before it prepares; in the loop's own thread, so that the scene's clock holds."""

    def __init__(self, cache: Path, port: int) -> None:
        super().__init__()
        client = Client(f"http://127.0.0.1:{port}", waits_s=())
        self.downloads = Downloads(cache, client, [HubRepositories(client, "immich-app")])

    async def ensure(self, part: Part) -> Prepared:
        self.downloads.fetch(part)
        return await super().ensure(part)


async def held_while(cache: Path, port: int, trouble: str) -> "asyncio.Task[Prepared]":
    """A request that has waited for a minute, and says for what."""
    preparation = cast("Preparation", Fetching(cache, port))
    registry = Registry(cast("Triton", FakeTriton()), preparation)
    waiting = asyncio.create_task(registry.get(VISUAL))
    await asyncio.sleep(AWAY_S)
    assert not waiting.done()
    assert trouble in registry.waits.of([VISUAL])
    return waiting


def served(cache: Path) -> None:
    assert asyncio.get_running_loop().time() <= AWAY_S + PAUSES_S[-1]
    assert all((cache / VISUAL.folder() / path).read_bytes() == clip_files()[path] for path in VISUAL_FILES)


async def test_a_hub_out_of_reach_for_a_minute_costs_no_request(tmp_path: Path) -> None:
    port = free_port()
    waiting = await held_while(tmp_path, port, "127.0.0.1 cannot be reached")
    with running_hub(port) as hub:
        hub.publish(REPOSITORY, clip_files())
        await waiting
    served(tmp_path)


async def test_a_disk_that_is_full_for_a_minute_costs_no_request(small_disk: Path) -> None:
    (film := small_disk / "holiday.mov").write_bytes(bytes(800_000))
    with running_hub() as hub:
        hub.publish(REPOSITORY, clip_files())
        port = int(hub.url.rpartition(":")[2])
        waiting = await held_while(small_disk, port, "the disk is full")
        film.unlink()
        await waiting
    served(small_disk)


async def test_too_many_requests_for_a_minute_cost_none(tmp_path: Path) -> None:
    with running_hub() as hub:
        hub.publish(REPOSITORY, clip_files())
        fault = hub.order("api/models", status=429, times=-1)
        port = int(hub.url.rpartition(":")[2])
        waiting = await held_while(tmp_path, port, "too often (429)")
        fault.times = 0
        await waiting
    served(tmp_path)

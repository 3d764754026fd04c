"""A hub, an empty cache folder and what fetches from the one into the other."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapter.preparation.fetch.download import Downloads
from adapter.preparation.fetch.hub import Hub as Client
from adapter.preparation.fetch.sources import HubRepositories, Source
from adapter.protocol import Part, TaskName, TypeName
from tests.support.hub import Hub, running_hub

NAME = "ViT-B-32__openai"
REPOSITORY = f"immich-app/{NAME}"
VISUAL = Part(TaskName.CLIP, TypeName.VISUAL, NAME)
TEXTUAL = Part(TaskName.CLIP, TypeName.TEXTUAL, NAME)
GRAPH = "visual/model.onnx"
WAITS_S = (0.001, 0.001)


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def clip_files(seed: int = 0) -> dict[str, bytes]:
    """A repository as Immich publishes them, with graphs in other formats and external data."""
    return {
        "README.md": b"# a model",
        "config.json": b'{"embed_dim": 512}',
        "visual/model.onnx": noise(200_000, seed),
        "visual/model.onnx_data": noise(90_000, seed + 1),
        "visual/preprocess_cfg.json": b'{"size": 224}',
        "visual/model.armnn": b"another format",
        "visual/fp16/model.armnn": b"another format",
        "visual/rknpu/rk3588/model.rknn": b"another format",
        "textual/model.onnx": noise(150_000, seed + 2),
        "textual/tokenizer.json": b'{"version": "1.0"}',
        "textual/tokenizer_config.json": b'{"pad_token": "!"}',
    }


VISUAL_FILES = ("visual/model.onnx", "visual/model.onnx_data", "visual/preprocess_cfg.json")


FETCH = f"""
import sys
from pathlib import Path
from adapter.errors import ModelUnavailable
from adapter.preparation.fetch.download import Downloads
from adapter.protocol import Part, TaskName, TypeName
try:
    print(Downloads(Path(sys.argv[1])).fetch(Part(TaskName.CLIP, TypeName.VISUAL, {NAME!r})))
except ModelUnavailable as error:
    sys.exit(str(error))
"""


class Bench:
    """The things that a test of downloads works with."""

    def __init__(self, hub: Hub, cache: Path) -> None:
        self.hub = hub
        self.cache = cache
        self.folder = cache / "clip" / NAME
        self.ended: list[str] = []
        self._open: list[Downloads] = []

    def downloads(self, *sources: Source) -> Downloads:
        """Downloads from these sources; default: from this hub, and from nowhere else."""
        client = Client(self.hub.url, waits_s=WAITS_S)
        wanted = sources or (HubRepositories(client, "immich-app"),)
        self._open.append(Downloads(self.cache, client, wanted, ended=self.ended.append))
        return self._open[-1]

    def spawn(self, **variables: str) -> "subprocess.Popen[str]":
        """A process that fetches the visual part and knows the hub from its environment only."""
        environment = {**os.environ, "HF_ENDPOINT": self.hub.url, "HF_HUB_OFFLINE": "0", **variables}
        return subprocess.Popen(
            [sys.executable, "-c", FETCH, str(self.cache)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def sent_ranges(self) -> list[str | None]:
        """Which part of the visual graph each request for it has asked for."""
        asked = self.hub.asked("cdn")
        return [request.headers.get("range") for request in asked if request.path.endswith(GRAPH)]

    def visible(self) -> set[str]:
        """The files under final names in the model's folder."""
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        names = {str(path.relative_to(self.folder)) for path in paths}
        return {name for name in names if not name.startswith(".")}

    def close(self) -> None:
        for downloads in self._open:
            downloads.close()


@contextmanager
def opened_bench(cache: Path) -> Iterator[Bench]:
    """A bench whose hub has one CLIP model."""
    with running_hub() as hub:
        hub.publish(REPOSITORY, clip_files())
        bench = Bench(hub, cache)
        try:
            yield bench
        finally:
            bench.close()

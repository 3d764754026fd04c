"""Models that one host has prepared, in a folder that others read and cannot write to."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from demo.models import clip
from tests.support.asking import LEMON
from tests.support.mounts import mounted
from tests.support.server import Server

pytestmark = pytest.mark.triton

MODEL = "a-model"


@pytest.fixture
def shared_folder(prepared: Path, tmp_path: Path) -> Iterator[Path]:
    """`cache` with a model, and `state` with what a host has made of it, as others have them: copied, read-only."""
    original = tmp_path / "original"
    shutil.copytree(prepared / "demo" / "clip" / clip.NAME, original / "cache" / "clip" / MODEL)
    (original / "state").mkdir()
    with Server(original / "state", original / "cache") as first:
        first.clip(MODEL, text="yellow"), first.clip(MODEL, LEMON)
    folder = tmp_path / "folder"
    shutil.copytree(original, folder, copy_function=shutil.copyfile)  # with other times than the originals
    with mounted(folder, "-o", "bind,ro", str(folder)):
        yield folder


def test_hosts_serve_what_another_has_prepared_from_a_folder_that_they_cannot_write_to(
    shared_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="Read-only"):
        (shared_folder / "state" / "x").touch()
    servers = [Server(shared_folder / "state", shared_folder / "cache") for _ in range(2)]
    for number, server in enumerate(servers):
        server.log = tmp_path / f"{number}.log"
    with servers[0] as one, servers[1] as other:
        np.testing.assert_array_equal(one.clip(MODEL, text="yellow"), other.clip(MODEL, text="yellow"))
        np.testing.assert_array_equal(one.clip(MODEL, LEMON), other.clip(MODEL, LEMON))

"""The real service, started once for all tests that want it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.golden import comparable
from tests.support.server import Server
from tests.support.shared import SHARED


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the original's answers and small models."""
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not here: the original's answers cannot be compared")
    return SHARED


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`immich-triton serve` with its embedded Triton, over the small models where they are."""
    with Server(tmp_path_factory.mktemp("state"), models=SHARED / "models") as running:
        yield running


@pytest.fixture(scope="session")
def golden_cases(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the golden cases, as far as this processor can give the original's answers."""
    file = tmp_path_factory.mktemp("golden") / "cases.json"
    cases = json.loads((shared / "golden/cases.json").read_text())
    file.write_text(json.dumps([comparable(case) for case in cases]))
    return file


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)

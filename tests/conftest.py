"""The real service, started once for all tests that want it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import Server

SHARED = Path(__file__).resolve().parents[2] / "shared"


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

"""The real service, started once for all tests that want it."""

import inspect
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from PIL import Image

from tests.support import golden
from tests.support.asking import EVERYTHING
from tests.support.clock import play
from tests.support.mounts import mounted
from tests.support.scheduling import ByService
from tests.support.server import NewState, Server
from tests.support.shared import SHARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones come first, so that no process is left alone with them in the end."""
    items.sort(
        key=lambda item: (item.path.parent.name != "triton", item.get_closest_marker("triton") is None)
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByService:
    config.option.loadscopereorder = False  # that is done above
    return ByService(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that is a coroutine is played in a loop in which nobody waits: see `tests/support/clock.py`."""
    if not inspect.iscoroutinefunction(pyfuncitem.function):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    play(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the original's answers and small models."""
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not here: the original's answers cannot be compared")
    return SHARED


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A state folder in which the demo's models are prepared: made once for all workers, never changed."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "prepared"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            (unfinished := folder.with_name("preparing")).mkdir()
            with Server(unfinished) as server:
                statuses = [server.predict(entries, **payload).status_code for entries, payload in EVERYTHING]
            assert set(statuses) == {200}
            unfinished.rename(folder)
    return folder


@pytest.fixture(scope="session")
def new_state(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> NewState:
    """Makes a state folder for one service, in which the demo's models are prepared: hard links, so in no time."""

    def new_state() -> Path:
        state = tmp_path_factory.mktemp("state")
        others = shutil.ignore_patterns("*.lock", "*.log")
        shutil.copytree(prepared, state, copy_function=os.link, ignore=others, dirs_exist_ok=True)
        return state

    return new_state


@pytest.fixture
def state(new_state: NewState) -> Path:
    """A state folder in which the demo's models are prepared."""
    return new_state()


@pytest.fixture(scope="session")
def server(new_state: NewState, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`immich-triton serve` with its embedded Triton, over the models of the golden cases."""
    golden.build_models(models := tmp_path_factory.mktemp("models"))
    with Server(new_state(), models) as running:
        yield running


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        yield folder


@pytest.fixture(autouse=True)
def _pillows_limit_of_pixels() -> Iterator[None]:
    """It is the process's, and a test may have set it."""
    limit = Image.MAX_IMAGE_PIXELS
    yield
    Image.MAX_IMAGE_PIXELS = limit


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """It is the process's, and a command may have set it up."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)

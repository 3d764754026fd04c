"""The steps with a stand-in for Triton's own Python module."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends.pictures import Pictures
from bench import pb_utils
from tests.support.configs import Config
from tests.support.step import Step

Load = Callable[..., Step]


@pytest.fixture(scope="session", autouse=True)
def _triton_python_backend_utils() -> Iterator[None]:
    sys.modules["triton_python_backend_utils"] = pb_utils
    yield
    for name in [name for name in sys.modules if name.startswith("backends")]:
        del sys.modules[name]  # they hold the stand-in
    del sys.modules["triton_python_backend_utils"]


@pytest.fixture(autouse=True)
def _no_picture_stays() -> Iterator[None]:
    yield
    Pictures().close()


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Loads a step from its config, over the files in `tmp_path`."""
    steps: list[Step] = []

    def load(config: Config, kind: str = "CPU") -> Step:
        steps.append(Step(config, tmp_path, kind))
        return steps[-1]

    yield load
    for step in steps:
        step.close()

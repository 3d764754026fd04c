"""Model repositories as the generator writes them, each made once."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from adapter.preparation.catalog import can_be_built
from adapter.preparation.repository import prepare
from adapter.protocol import PARTS, Part, TaskName
from demo.models import build
from tests.support import defaults
from tests.support.defaults import preparation_settings
from tests.support.shared import SHARED

MakeRepository = Callable[[str], Path]


@pytest.fixture(scope="session")
def make_repository(tmp_path_factory: pytest.TempPathFactory) -> MakeRepository:
    """A repository by the name of what it is made of: `defaults` (small graphs), `demo`, or `shared` (small models)."""

    @cache
    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        prepare_all(_sources(name, folder / "cache"), folder / "model_repository")
        return folder / "model_repository"

    return make


@pytest.fixture(params=["defaults", "demo", "shared"])
def repository(make_repository: MakeRepository, request: pytest.FixtureRequest) -> Path:
    if request.param == "shared":
        request.getfixturevalue("shared")  # skips, with the reason, where it is absent
    return make_repository(request.param)


def prepare_all(cache_folder: Path, repository: Path) -> None:
    """Prepares every model of a cache folder, with default settings."""
    for task, type_name in PARTS:
        for graph in cache_folder.glob(f"{task}/*/{type_name}/model.onnx"):
            source = graph.parent.parent
            prepare(Part(task, type_name, source.name), source, repository, preparation_settings())


def _sources(name: str, folder: Path) -> Path:
    if name == "shared":
        return SHARED / "models"
    builders = {"defaults": defaults.build_sources, "demo": _build_demo_models}
    builders[name](folder)
    return folder


def _build_demo_models(folder: Path) -> None:
    for task in TaskName:
        if task is not TaskName.OCR or can_be_built(TaskName.OCR):
            build(task, folder)

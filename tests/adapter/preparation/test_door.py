"""The door to preparation: what is to be had is had, and what goes wrong is told in the service's own words."""

import asyncio
import shutil
from pathlib import Path

import pytest

from adapter import settings
from adapter.errors import InvalidEntries, ModelRefused, ModelUnavailable
from adapter.preparation.catalog import DEMO
from adapter.preparation.door import Preparation, Prepared
from adapter.protocol import Part, TaskName, TypeName
from tests.support import defaults

PART = Part(TaskName.CLIP, TypeName.TEXTUAL, "own")
DEMO_CLIP = Part(TaskName.CLIP, TypeName.TEXTUAL, DEMO[TaskName.CLIP])


class House:
    """The files of a model that is quick to prepare, under a name that nobody publishes, and an empty state folder."""

    def __init__(self, folder: Path) -> None:
        defaults.build_sources(folder / "cache")
        self.source = folder / "cache" / PART.task / PART.name
        (folder / "cache" / PART.task / defaults.CLIP).rename(self.source)
        self.settings = settings.load(cache_folder=folder / "cache", state_folder=folder / "state")
        self.preparation = Preparation(self.settings)

    def ensure(self, part: Part = PART) -> Prepared:
        return asyncio.run(self.preparation.ensure(part))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_what_was_prepared_is_told_and_found_again_without_a_process(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = house.ensure()
    assert prepared.outputs == {"embedding": (512,)}
    assert (house.settings.repository / prepared.model / "config.pbtxt").is_file()
    monkeypatch.setenv("PATH", "")  # nothing can be started
    assert house.ensure() == prepared


def test_two_services_prepare_one_model_and_agree(house: House) -> None:
    async def both() -> list[Prepared]:
        return await asyncio.gather(*(Preparation(house.settings).ensure(PART) for _ in range(2)))

    first, second = asyncio.run(both())
    assert first == second
    assert set(first.folders) == {path.name for path in house.settings.repository.iterdir()}


def test_a_demo_model_is_built_once_it_is_named(house: House) -> None:
    assert DEMO_CLIP.name in house.preparation.names(TaskName.CLIP)
    assert not house.preparation.is_here(DEMO_CLIP), "it is built before anyone asked for it"
    assert house.ensure(DEMO_CLIP).model == "demo-clip.textual"
    assert not (house.settings.demo_models / TaskName.FACES).exists(), "nobody asked for it"
    assert house.preparation.is_prepared(DEMO_CLIP)


def test_a_name_that_is_none_is_told_with_near_ones(house: House) -> None:
    with pytest.raises(InvalidEntries, match="own"):
        house.ensure(Part(PART.task, PART.type, "owm"))


def test_a_known_model_that_is_here_is_used_as_it_is(house: House) -> None:
    shutil.copytree(house.source, house.source.with_name(defaults.CLIP))
    assert house.ensure(Part(PART.task, PART.type, defaults.CLIP)).outputs == {"embedding": (512,)}


def test_what_is_removed_is_gone_from_both_folders(house: House) -> None:
    house.ensure()
    gone = house.preparation.remove([PART])
    assert house.source in gone
    assert not house.preparation.is_here(PART)
    assert list(house.settings.repository.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "content"),
    [("textual/model.onnx", "no graph"), ("config.json", "{"), ("textual/tokenizer_config.json", "{}")],
)
def test_a_model_whose_files_are_not_fit_is_refused(house: House, file: str, content: str) -> None:
    (house.source / file).write_text(content)
    with pytest.raises(ModelRefused, match="not fit to be served"):
        house.ensure()


def test_a_missing_file_makes_the_model_unavailable(house: House) -> None:
    (house.source / "config.json").unlink()
    with pytest.raises(ModelUnavailable, match=r"config\.json") as caught:
        house.ensure()
    assert type(caught.value) is ModelUnavailable, "the next request tries again"


def test_a_file_that_vanishes_makes_the_model_unavailable(house: House) -> None:
    (house.source / "textual/vocab.json").symlink_to("gone")
    with pytest.raises(ModelUnavailable, match=r"vocab\.json"):
        house.ensure()


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("kill -SEGV $$", "a library crashed with SIGSEGV"),
        ("kill -KILL $$", "too little memory"),
        ("exit 3", "ended with 3"),
    ],
)
@pytest.mark.parametrize("part", [PART, DEMO_CLIP], ids=["prepared", "built"])
def test_a_process_that_dies_makes_the_model_unavailable_and_says_of_what(
    house: House, monkeypatch: pytest.MonkeyPatch, end: str, told: str, part: Part
) -> None:
    starter = house.source / "bin/setpriv"
    starter.parent.mkdir()
    starter.write_text(f"#!/bin/sh\n{end}\n")
    starter.chmod(0o755)
    monkeypatch.setenv("PATH", str(starter.parent), prepend=":")
    with pytest.raises(ModelUnavailable, match=told) as caught:
        house.ensure(part)
    assert type(caught.value) is ModelUnavailable, "the next request tries again"


@pytest.mark.parametrize("part", [PART, DEMO_CLIP], ids=["prepared", "built"])
def test_a_process_that_cannot_be_started_makes_the_model_unavailable(
    house: House, monkeypatch: pytest.MonkeyPatch, part: Part
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ModelUnavailable, match="setpriv"):
        house.ensure(part)

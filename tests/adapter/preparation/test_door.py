"""The door to preparation: what is to be had is had, and what goes wrong is told in the service's own words."""

import asyncio
import json
import shutil
from dataclasses import replace
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
    assert not house.preparation.revisions(DEMO_CLIP), "it is built before anyone asked for it"
    assert house.ensure(DEMO_CLIP).model == "demo-clip.textual"
    assert not (house.settings.demo_models / TaskName.FACES).exists(), "nobody asked for it"
    assert house.preparation.prepared(DEMO_CLIP)


def test_a_demo_model_is_listed_where_its_package_is(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert house.preparation.names(TaskName.OCR)[-1] == "demo-ocr"
    monkeypatch.setattr("adapter.preparation.catalog.DEMO_OCR_PACKAGE", "no_such_package")
    assert "demo-ocr" not in house.preparation.names(TaskName.OCR)


def test_a_name_that_is_none_is_told_with_near_ones(house: House) -> None:
    with pytest.raises(InvalidEntries, match="own"):
        house.ensure(Part(PART.task, PART.type, "owm"))


def test_a_known_model_that_is_here_is_used_as_it_is(house: House) -> None:
    shutil.copytree(house.source, house.source.with_name(defaults.CLIP))
    assert house.ensure(Part(PART.task, PART.type, defaults.CLIP)).outputs == {"embedding": (512,)}


@pytest.mark.parametrize("wrong", [{"resize_mode": "longest"}, {"interpolation": "random"}])
def test_an_unknown_way_of_resizing_is_refused(house: House, wrong: dict[str, str]) -> None:
    file = house.source / "visual/preprocess_cfg.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | wrong))
    with pytest.raises(
        ModelRefused, match=rf"{next(iter(wrong.values()))}' of preprocess_cfg.json is none of"
    ):
        house.ensure(replace(PART, type=TypeName.VISUAL))


def test_a_model_that_immich_32_resized_otherwise_is_named(house: House) -> None:
    config = house.source / "visual/preprocess_cfg.json"
    assert house.preparation.resized_otherwise() == {}
    config.write_text('{"size": 224, "resize_mode": "squash", "interpolation": "bicubic"}')
    assert house.preparation.resized_otherwise() == {"own": "squash, bicubic"}


@pytest.mark.parametrize("name", [PART.name, defaults.CLIP], ids=["custom", "known"])
class TestRevisions:
    def test_a_cache_that_holds_only_v2_is_used_as_immich_left_it(self, house: House, name: str) -> None:
        part, v2 = replace(PART, name=name), house.source.with_name(name) / "v2"
        shutil.copytree(house.source.rename(house.source.with_name("else")), v2)
        (v2 / "textual/cpu/x86_64/1").mkdir(parents=True)
        (v2 / "textual/model.lock").touch()
        made = house.ensure(part)
        assert made.revision == "v2"
        assert house.preparation.prepared(part) == made
        assert house.preparation.revisions(part) == ["v2"]
        assert name in house.preparation.names(part.task)
        manifest = (house.settings.repository / made.model / "preparation.json").read_text()
        assert "model.lock" not in manifest

    def test_of_both_the_one_that_is_set_is_served_and_its_vectors_are_compared(
        self, house: House, name: str
    ) -> None:
        part, main = replace(PART, name=name), house.source.rename(house.source.with_name(name))
        assert house.ensure(part).cosine is None
        shutil.copytree(main, main / "v2")
        compared = house.ensure(part)
        assert compared.revision == "main"
        assert compared.cosine == pytest.approx(1, abs=2e-5)
        house.preparation = Preparation(house.settings.model_copy(update={"model_revision": "v2"}))
        assert house.ensure(part).revision == "v2"
        assert "cosine to revision main" in house.ensure(part).notes[-1]

    def test_a_broken_other_one_hinders_nothing_but_the_comparison(self, house: House, name: str) -> None:
        part, main = replace(PART, name=name), house.source.rename(house.source.with_name(name))
        shutil.copytree(main, main / "v2")
        (main / "v2/textual/model.onnx").write_text("no graph")
        assert "cannot be compared with revision v2" in house.ensure(part).notes[-1]


def test_what_is_removed_is_gone_from_both_folders(house: House) -> None:
    house.ensure()
    assert house.source in house.preparation.folders_of([PART])
    house.preparation.remove([PART])
    assert not house.preparation.folders_of([PART])
    assert not house.preparation.revisions(PART)
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
    assert caught.value.passing


def test_a_file_that_vanishes_makes_the_model_unavailable(house: House) -> None:
    (house.source / "textual/vocab.json").symlink_to("gone")
    with pytest.raises(ModelUnavailable, match=r"vocab\.json"):
        house.ensure()


@pytest.mark.parametrize(
    ("end", "told", "passing"),
    [
        ("kill -SEGV $$", "a library crashed with SIGSEGV", False),
        ("kill -KILL $$", "too little memory", True),
        ("exit 3", "ended with 3", False),
    ],
)
@pytest.mark.parametrize("part", [PART, DEMO_CLIP], ids=["prepared", "built"])
def test_a_process_that_dies_makes_the_model_unavailable_and_says_of_what(
    house: House, monkeypatch: pytest.MonkeyPatch, end: str, told: str, passing: bool, part: Part
) -> None:
    starter = house.source / "bin/setpriv"
    starter.parent.mkdir()
    starter.write_text(f"#!/bin/sh\n{end}\n")
    starter.chmod(0o755)
    monkeypatch.setenv("PATH", str(starter.parent), prepend=":")
    with pytest.raises(ModelUnavailable, match=told) as caught:
        house.ensure(part)
    assert caught.value.passing is passing


@pytest.mark.parametrize("part", [PART, DEMO_CLIP], ids=["prepared", "built"])
def test_a_process_that_cannot_be_started_makes_the_model_unavailable(
    house: House, monkeypatch: pytest.MonkeyPatch, part: Part
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ModelUnavailable, match="setpriv"):
        house.ensure(part)

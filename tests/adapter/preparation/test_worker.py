"""Preparation in another process: what goes wrong there, or on the way there, is told in the service's own words."""

import asyncio
from pathlib import Path

import pytest

from adapter.errors import ModelRefused, ModelUnavailable
from adapter.preparation.repository import Preferences, Prepared
from adapter.preparation.worker import prepare_apart
from adapter.protocol import Part, TaskName, TypeName
from tests.support import defaults

PART = Part(TaskName.CLIP, TypeName.TEXTUAL, defaults.CLIP)


class Workshop:
    """The sources of a model that is quick to prepare, and an empty repository."""

    def __init__(self, folder: Path) -> None:
        defaults.build_sources(folder / "cache")
        self.source = folder / "cache" / PART.task / PART.name
        self.repository = folder / "state/model_repository"

    def prepare(self) -> Prepared:
        return asyncio.run(prepare_apart(PART, self.source, self.repository, Preferences()))


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_what_was_prepared_is_told_and_found_again_without_a_process(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = workshop.prepare()
    assert prepared.outputs == {"embedding": (512,)}
    assert (workshop.repository / prepared.model / "config.pbtxt").is_file()
    monkeypatch.setenv("PATH", "")  # nothing can be started
    assert workshop.prepare() == prepared


@pytest.mark.parametrize(
    ("file", "content"),
    [("textual/model.onnx", "no graph"), ("config.json", "{"), ("textual/tokenizer_config.json", "{}")],
)
def test_a_model_whose_files_are_not_fit_is_refused(workshop: Workshop, file: str, content: str) -> None:
    (workshop.source / file).write_text(content)
    with pytest.raises(ModelRefused, match="not fit to be served"):
        workshop.prepare()


def test_a_missing_file_makes_the_model_unavailable(workshop: Workshop) -> None:
    (workshop.source / "config.json").unlink()
    with pytest.raises(ModelUnavailable, match=r"config\.json") as caught:
        workshop.prepare()
    assert type(caught.value) is ModelUnavailable, "the next request tries again"


def test_a_file_that_vanishes_makes_the_model_unavailable(workshop: Workshop) -> None:
    (workshop.source / "textual/vocab.json").symlink_to("gone")
    with pytest.raises(ModelUnavailable, match=r"vocab\.json"):
        workshop.prepare()


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("kill -SEGV $$", "a library crashed with SIGSEGV"),
        ("kill -KILL $$", "too little memory"),
        ("exit 3", "ended with 3"),
    ],
)
def test_a_process_that_dies_makes_the_model_unavailable_and_says_of_what(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, end: str, told: str
) -> None:
    starter = workshop.source / "bin/setpriv"
    starter.parent.mkdir()
    starter.write_text(f"#!/bin/sh\n{end}\n")
    starter.chmod(0o755)
    monkeypatch.setenv("PATH", str(starter.parent), prepend=":")
    with pytest.raises(ModelUnavailable, match=told) as caught:
        workshop.prepare()
    assert type(caught.value) is ModelUnavailable, "the next request tries again"


def test_a_process_that_cannot_be_started_makes_the_model_unavailable(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ModelUnavailable, match="setpriv"):
        workshop.prepare()

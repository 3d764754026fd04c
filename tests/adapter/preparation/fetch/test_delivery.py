"""What lies in the cache folder, whatever arrives: all of a part or nothing, and never a file that was not checked."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adapter.errors import ModelRefused, ModelUnavailable
from adapter.preparation.fetch import lockfile
from tests.support.downloads import (
    GRAPH,
    NAME,
    REPOSITORY,
    VISUAL,
    VISUAL_FILES,
    Bench,
    clip_files,
)
from tests.support.hub import sha256


def test_of_a_model_that_is_there_in_part_the_rest_is_fetched(bench: Bench) -> None:
    (bench.folder / "visual").mkdir(parents=True)
    (bench.folder / GRAPH).write_bytes(clip_files()[GRAPH])
    before = (bench.folder / GRAPH).stat()  # but for the time of reading
    bench.downloads().fetch(VISUAL)
    assert bench.visible() == set(VISUAL_FILES)
    after = (bench.folder / GRAPH).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert bench.sent_ranges() == []


def test_a_file_of_the_users_own_is_never_replaced(bench: Bench) -> None:
    (bench.folder / "visual").mkdir(parents=True)
    (bench.folder / GRAPH).write_bytes(b"my own weights")
    with pytest.raises(
        ModelUnavailable, match=r"visual/model.onnx is there and is not the file of .*Complete"
    ):
        bench.downloads().fetch(VISUAL)
    assert (bench.folder / GRAPH).read_bytes() == b"my own weights"


def test_nothing_half_written_is_visible_after_a_cut_and_the_next_call_goes_on(bench: Bench) -> None:
    bench.hub.order(GRAPH, cut_after=70_000)
    bench.hub.order(GRAPH, cut_after=0, times=3)
    with pytest.raises(ModelUnavailable, match=r"broke .* What has arrived is kept"):
        bench.downloads().fetch(VISUAL)
    assert bench.visible() == set()
    bench.downloads().fetch(VISUAL)
    assert bench.visible() == set(VISUAL_FILES)
    assert bench.sent_ranges()[-1] == "bytes=70000-"


@pytest.mark.parametrize(
    "path", ["visual/model.onnx", "visual/model.onnx_data", "visual/preprocess_cfg.json"]
)
def test_a_corrupt_file_is_fetched_again_once(bench: Bench, path: str) -> None:
    bench.hub.order(path, corrupt=True)
    bench.downloads().fetch(VISUAL)
    assert (bench.folder / path).read_bytes() == clip_files()[path]


@pytest.mark.parametrize("path", ["visual/model.onnx", "visual/preprocess_cfg.json"])
def test_a_file_that_stays_corrupt_is_named_and_nothing_of_it_stays(bench: Bench, path: str) -> None:
    bench.hub.order(f"{path}", corrupt=True, times=2)
    with pytest.raises(ModelRefused, match=rf"{path} of .* arrived corrupt twice"):
        bench.downloads().fetch(VISUAL)
    assert bench.visible() == set()
    bench.downloads().fetch(VISUAL)
    assert (bench.folder / path).read_bytes() == clip_files()[path]


def test_a_beginning_that_rotted_on_the_disk_is_noticed(bench: Bench) -> None:
    bench.hub.order(GRAPH, cut_after=70_000)
    bench.hub.order(GRAPH, cut_after=0, times=3)
    with pytest.raises(ModelUnavailable):
        bench.downloads().fetch(VISUAL)
    partial = bench.folder / ".download" / sha256(clip_files()[GRAPH])
    partial.write_bytes(bytes(len(partial.read_bytes())))
    bench.downloads().fetch(VISUAL)
    assert (bench.folder / GRAPH).read_bytes() == clip_files()[GRAPH]


@pytest.fixture
def renamed() -> Iterator[list[str]]:
    """The names that files are given, in order."""
    names: list[str] = []
    watching = [True]

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "os.rename":
            names.append(str(arguments[1]))

    sys.addaudithook(note)  # there is no taking it away again
    yield names
    watching.clear()


def test_the_graph_comes_last_and_after_the_lock_file(bench: Bench, renamed: list[str]) -> None:
    bench.downloads().fetch(VISUAL)
    last_lock = max(place for place, name in enumerate(renamed) if name.endswith(lockfile.NAME))
    in_place = [name.removeprefix(f"{bench.folder}/") for name in renamed[last_lock + 1 :]]
    assert set(in_place) == set(VISUAL_FILES)
    assert in_place[-1] == GRAPH


def test_a_fetched_file_that_lost_bytes_is_fetched_again(bench: Bench) -> None:
    bench.downloads().fetch(VISUAL)
    (bench.folder / GRAPH).write_bytes(b"cut short")
    assert bench.downloads().find(VISUAL) is None
    bench.downloads().fetch(VISUAL)
    assert (bench.folder / GRAPH).read_bytes() == clip_files()[GRAPH]


def test_a_repository_without_the_graph_is_told(bench: Bench) -> None:
    bench.hub.publish(REPOSITORY, {"visual/preprocess_cfg.json": b"{}"})
    with pytest.raises(ModelUnavailable, match=r"has no visual/model.onnx\."):
        bench.downloads().fetch(VISUAL)


def test_a_path_that_leads_out_of_the_folder_is_not_taken(bench: Bench) -> None:
    bench.hub.publish(REPOSITORY, {**clip_files(), "visual/../../../escaped.json": b"{}"})
    bench.downloads().fetch(VISUAL)
    assert bench.visible() == set(VISUAL_FILES)
    assert not list(bench.cache.rglob("escaped.json"))


def test_a_disk_too_small_is_noticed_before_anything_is_fetched(bench: Bench, small_disk: Path) -> None:
    bench.cache = small_disk
    (small_disk / "holiday.mov").write_bytes(bytes(800_000))
    with pytest.raises(ModelUnavailable, match=r"the disk is full .* MiB more are needed; .* models remove"):
        bench.downloads().fetch(VISUAL)
    assert not bench.hub.asked("cdn")
    (small_disk / "holiday.mov").unlink()
    assert bench.downloads().fetch(VISUAL) == small_disk / "clip" / NAME


def test_a_disk_that_fills_up_meanwhile_is_survived_and_gets_its_space_back(
    bench: Bench, small_disk: Path
) -> None:
    bench.cache = small_disk
    downloads = bench.downloads()
    fault = bench.hub.order(GRAPH, pause_after=50_000)
    with ThreadPoolExecutor(1) as threads:
        fetching = threads.submit(downloads.fetch, VISUAL)
        assert fault.reached.wait(10)
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        (small_disk / "holiday.mov").write_bytes(bytes(free - 60_000))
        fault.proceed.set()
        with pytest.raises(
            ModelUnavailable, match=r"the disk is full \(No space left on device; .* are free\)"
        ):
            fetching.result(10)
    assert not list((small_disk / "clip").rglob("*.*"))
    (small_disk / "holiday.mov").unlink()
    assert downloads.fetch(VISUAL) == small_disk / "clip" / NAME

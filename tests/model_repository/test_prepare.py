"""Folders of the model repository appear whole or not at all, once, and again only when there is a reason."""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from threading import Barrier

import pytest

from adapter.preparation.graphs.file import RewriteError
from adapter.preparation.repository import (
    MANIFEST,
    Draft,
    Family,
    Preferences,
    Prepared,
    find_prepared,
    prepare,
    version_folder,
)
from adapter.preparation.triton_models.config import Model, Step, Tensor, without_batching
from adapter.protocol import Part, TaskName, TypeName
from tests.support import defaults

pytestmark = pytest.mark.slow

PART = Part(TaskName.CLIP, TypeName.VISUAL, "m")
FOLDERS = ("m.visual.first", "m.visual.second", "m.visual")

X, Y, Z = Tensor("x", "FP32", (3,)), Tensor("y", "FP32", (-1, 2)), Tensor("z", "FP32", (4,))


class Workshop:
    """A source of two files, an empty repository, and a generator that copies the first file into its last step.

    Attributes:
        made: how often the generator ran.
        fault: raised by it when half of the files are written.
        stuck: an old folder that cannot be moved out of the way.
        batched: whether the model can be.
    """

    def __init__(self, folder: Path) -> None:
        self.source = folder / "cache/m"
        self.repository = folder / "state/model_repository"
        self.family = Family(("config.json", "visual/*"), self._generate)
        self.made = 0
        self.fault: Exception | None = None
        self.batched = True
        self.stuck = ""
        (self.source / "visual").mkdir(parents=True)
        (self.source / "config.json").write_text("{}")
        (self.source / "visual/model.onnx").write_text("weights")

    def prepare(self, preferences: Preferences = Preferences()) -> Prepared:  # noqa: B008 - it is frozen
        return prepare(PART, self.source, self.repository, self.family, preferences)

    def find(self) -> Prepared | None:
        return find_prepared(PART, self.source, self.repository, self.family, Preferences())

    def content(self) -> dict[str, str]:
        files = (path for path in self.repository.rglob("*") if path.is_file())
        return {str(path.relative_to(self.repository)): path.read_text() for path in files}

    def identities(self) -> dict[Path, tuple[int, int]]:
        """Inode and time of the last change of every file and folder."""
        stats = {path: path.stat() for path in self.repository.rglob("*")}
        return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}

    def left_over(self) -> set[str]:
        """What lies beside the repository, but for the lock."""
        beside = {path.name for path in self.repository.parent.iterdir()}
        return beside - {"model_repository", "preparation.lock"}

    def graph(self) -> str:
        return (self.repository / "m.visual.second/1/model.onnx").read_text()

    def _generate(self, source: Path, name: str, staging: Path, preferences: Preferences) -> Draft:
        self.made += 1
        first, second = f"{name}.first", f"{name}.second"
        version_folder(staging, first)
        if self.fault:
            raise self.fault
        if self.stuck:
            (staging / f"{self.stuck}.old/in the way").mkdir(parents=True)
        graph = (source / "visual/model.onnx").read_text()
        (version_folder(staging, second) / "model.onnx").write_text(graph)
        models = [
            Model(first, "x → y", [X], [Y], backend="b", parameters={"p": str(preferences.max_pixels)}),
            Model(second, "y → z", [Y], [Z], backend="onnxruntime"),
            Model(
                name,
                "x → y, z",
                [X],
                [Y, Z],
                steps=[Step(first, {"x": "x"}, {"y": "y"}), Step(second, {"y": "y"}, {"z": "z"})],
            ),
        ]
        return Draft(models if self.batched else [*map(without_batching, models)], ("a note",))


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


class TestWriting:
    def test_every_folder_is_there_and_nothing_else(self, workshop: Workshop) -> None:
        prepared = workshop.prepare()
        assert set(workshop.content()) == {
            *(f"{folder}/config.pbtxt" for folder in FOLDERS),
            "m.visual.second/1/model.onnx",
            f"m.visual/{MANIFEST}",
        }
        assert all((workshop.repository / folder / "1").is_dir() for folder in FOLDERS)
        assert prepared == Prepared("m.visual", FOLDERS, 8, {"y": (-1, 2), "z": (4,)}, ("a note",))
        assert workshop.left_over() == set()

    def test_without_batching_outputs_are_told_without_the_axis_of_one_too(self, workshop: Workshop) -> None:
        workshop.batched = False
        prepared = workshop.prepare()
        assert (prepared.max_batch_size, prepared.outputs) == (1, {"y": (-1, 2), "z": (4,)})

    def test_an_unwritable_repository_is_an_os_error(self, workshop: Workshop) -> None:
        workshop.repository.parent.write_text("a file where the state folder should be")
        with pytest.raises(OSError, match="state"):
            workshop.prepare()
        assert workshop.made == 0

    def test_a_missing_source_is_an_os_error(self, workshop: Workshop) -> None:
        (workshop.source / "visual/model.onnx").unlink()
        with pytest.raises(OSError, match=r"model\.onnx"):
            workshop.prepare()
        assert workshop.content() == {}


class TestAgain:
    def test_nothing_is_done_where_nothing_changed(self, workshop: Workshop) -> None:
        first = workshop.prepare()
        before = workshop.identities()
        assert workshop.prepare() == first
        assert workshop.find() == first
        assert workshop.identities() == before
        assert workshop.made == 1

    def test_a_source_that_was_only_touched_is_the_same(self, workshop: Workshop) -> None:
        first = workshop.prepare()
        (workshop.source / "visual/model.onnx").write_text("weights")
        assert workshop.prepare() == first
        assert workshop.made == 1

    @pytest.mark.parametrize("name", ["config.json", "visual/model.onnx", "visual/another"])
    def test_a_changed_source_is_prepared_anew(self, workshop: Workshop, name: str) -> None:
        workshop.prepare()
        (workshop.source / name).write_text("others")
        assert workshop.find() is None
        workshop.prepare()
        assert workshop.made == 2
        assert workshop.graph() == (workshop.source / "visual/model.onnx").read_text()
        assert workshop.left_over() == set()

    def test_files_that_a_model_is_not_made_of_make_no_difference(self, workshop: Workshop) -> None:
        workshop.prepare()
        (workshop.source / "README.md").write_text("hello")
        assert workshop.find() is not None

    def test_other_preferences_are_prepared_anew(self, workshop: Workshop) -> None:
        workshop.prepare()
        workshop.prepare(Preferences(max_pixels=5))
        assert workshop.made == 2
        assert '"5"' in workshop.content()["m.visual.first/config.pbtxt"]
        assert workshop.find() is None, "it was made with other preferences"

    @pytest.mark.parametrize("folder", FOLDERS)
    def test_a_missing_folder_is_healed(self, workshop: Workshop, folder: str) -> None:
        first = workshop.prepare()
        before = workshop.content()
        for path in sorted((workshop.repository / folder).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (workshop.repository / folder).rmdir()
        assert workshop.find() is None
        assert workshop.prepare() == first
        assert workshop.content().keys() == before.keys()

    @pytest.mark.parametrize(
        "damage", [Path.unlink, lambda path: path.write_text("wei")], ids=["gone", "cut"]
    )
    def test_a_graph_that_is_gone_or_cut_is_healed(
        self, workshop: Workshop, damage: Callable[[Path], object]
    ) -> None:
        workshop.prepare()
        damage(workshop.repository / "m.visual.second/1/model.onnx")
        workshop.prepare()
        assert workshop.graph() == "weights"

    @pytest.mark.parametrize("manifest", ["", "{", '{"key": "x"}'])
    def test_a_broken_manifest_is_replaced(self, workshop: Workshop, manifest: str) -> None:
        first = workshop.prepare()
        (workshop.repository / "m.visual" / MANIFEST).write_text(manifest)
        assert workshop.find() is None
        assert workshop.prepare() == workshop.find() == first


class TestCrashes:
    @pytest.mark.parametrize("fault", [RewriteError("no encoder"), OSError("no space left"), MemoryError()])
    def test_a_generator_that_fails_leaves_nothing_behind(self, workshop: Workshop, fault: Exception) -> None:
        workshop.fault = fault
        with pytest.raises(type(fault)):
            workshop.prepare()
        assert (workshop.content(), workshop.left_over()) == ({}, set())
        workshop.fault = None
        assert workshop.prepare().model == "m.visual"

    def test_a_generator_that_fails_leaves_the_old_model_in_place(self, workshop: Workshop) -> None:
        workshop.prepare()
        before = workshop.content()
        (workshop.source / "visual/model.onnx").write_text("others")
        workshop.fault = RewriteError("no encoder")
        with pytest.raises(RewriteError):
            workshop.prepare()
        assert (workshop.content(), workshop.left_over()) == (before, set())

    @pytest.mark.parametrize("folder", FOLDERS)
    def test_a_crash_while_the_old_folders_are_moved_leaves_the_old_model_or_none(
        self, workshop: Workshop, folder: str
    ) -> None:
        workshop.prepare()
        before = workshop.content()
        (workshop.source / "visual/model.onnx").write_text("others")
        workshop.stuck = folder
        with pytest.raises(OSError, match=folder):
            workshop.prepare()
        if (workshop.repository / "m.visual").exists():
            assert workshop.content() == before
        assert workshop.left_over() == set()
        workshop.stuck = ""
        assert workshop.prepare().folders == FOLDERS
        assert workshop.graph() == "others"

    @pytest.mark.parametrize("folder", FOLDERS)
    @pytest.mark.parametrize("is_there", [False, True], ids=["new", "old one there"])
    def test_a_crash_between_two_folders_leaves_no_public_one(
        self, workshop: Workshop, folder: str, is_there: bool
    ) -> None:
        if is_there:
            workshop.prepare()
            (workshop.source / "visual/model.onnx").write_text("others")
            for path in sorted((workshop.repository / folder).rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            (workshop.repository / folder).rmdir()
        else:
            workshop.repository.mkdir(parents=True)
        obstacle = workshop.repository / folder
        obstacle.symlink_to("nowhere")  # no folder can be moved there
        with pytest.raises(OSError, match=folder):
            workshop.prepare()
        assert not (workshop.repository / "m.visual").is_dir(), "the public folder is not of one piece"
        assert workshop.left_over() == set()
        obstacle.unlink()
        assert workshop.prepare().folders == FOLDERS
        assert workshop.graph() == ("others" if is_there else "weights")

    def test_what_a_killed_process_left_behind_is_cleared_away(self, workshop: Workshop) -> None:
        workshop.repository.mkdir(parents=True)
        (workshop.repository.parent / ".staging-killed/m.visual").mkdir(parents=True)
        workshop.prepare()
        assert workshop.left_over() == set()


class TestTogether:
    def test_several_at_once_prepare_once(self, workshop: Workshop) -> None:
        barrier = Barrier(4)

        def at_once(_: int) -> Prepared:
            barrier.wait()
            return workshop.prepare()

        with ThreadPoolExecutor(4) as pool:
            first, *others = pool.map(at_once, range(4))
        assert workshop.made == 1
        assert all(other == first for other in others)
        assert workshop.find() == first

    def test_two_processes_prepare_a_real_model_and_agree(self, tmp_path: Path) -> None:
        defaults.build_sources(tmp_path / "cache")
        part = Part(TaskName.CLIP, TypeName.TEXTUAL, defaults.CLIP)
        repository = tmp_path / "state/model_repository"
        job = {
            "part": asdict(part),
            "source": str(tmp_path / "cache" / part.task / part.name),
            "repository": str(repository),
            "preferences": asdict(Preferences()),
        }
        command = [sys.executable, "-m", "adapter.preparation.worker", json.dumps(job)]
        workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        first, second = (json.loads(worker.communicate()[0]) for worker in workers)
        assert first == second
        assert set(first["folders"]) == {path.name for path in repository.iterdir()}
        assert not list(repository.parent.glob(".staging-*"))

    def test_models_of_the_same_repository_do_not_disturb_each_other(self, workshop: Workshop) -> None:
        first = workshop.prepare()
        other = replace(PART, name="n")
        prepare(other, workshop.source, workshop.repository, workshop.family, Preferences())
        assert workshop.find() == first
        assert len([*workshop.repository.iterdir()]) == 6

"""Folders of the model repository appear whole or not at all, once, and again only when there is a reason."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from adapter import processor
from adapter.preparation import manifest
from adapter.preparation.config import Model, Step, Tensor, without_batching
from adapter.preparation.graphs.file import RewriteError
from adapter.preparation.manifest import Prepared
from adapter.preparation.repository import prepare
from adapter.preparation.triton_models.shared import Generated, graph_file, version_folder
from adapter.protocol import Part, TaskName, TypeName
from adapter.settings import PreparationSettings
from tests.support.defaults import preparation_settings

PART = Part(TaskName.CLIP, TypeName.TEXTUAL, "m")
FOLDERS = ("m.textual.first", "m.textual.second", "m.textual")
GRAPH = "m.textual.second/1/model.onnx"

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
        self.made = 0
        self.fault: Exception | None = None
        self.batched = True
        self.stuck = ""
        (self.source / "textual").mkdir(parents=True)
        (self.source / "config.json").write_text("{}")
        (self.source / "textual/model.onnx").write_text("weights")

    def prepare(self, part: Part = PART, **chosen: Any) -> Prepared:
        settings = preparation_settings(**chosen)
        return prepare(part, self.source, self.repository, settings, self._generate)

    def find(self) -> Prepared | None:
        return manifest.find(PART, self.source, self.repository, preparation_settings())

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

    def _generate(self, part: Part, source: Path, staging: Path, settings: PreparationSettings) -> Generated:
        self.made += 1
        name = f"{part.name}.{part.type}"
        first, second = f"{name}.first", f"{name}.second"
        version_folder(staging, first)
        if self.fault:
            raise self.fault
        if self.stuck:
            (staging / f"{self.stuck}.old/in the way").mkdir(parents=True)
        graph_file(staging, second).write_text((source / "textual/model.onnx").read_text())
        steps = [Step(first, {"x": "x"}, {"y": "y"}), Step(second, {"y": "y"}, {"z": "z"})]
        models = [
            Model(first, "x → y", [X], [Y], backend="b", parameters={"p": str(settings.max_pixels)}),
            Model(second, "y → z", [Y], [Z], backend="onnxruntime"),
            Model(name, "x → y, z", [X], [Y, Z], steps=steps),
        ]
        return Generated(models if self.batched else [*map(without_batching, models)], ("a note",))


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_every_folder_is_there_and_nothing_else(workshop: Workshop) -> None:
    prepared = workshop.prepare()
    configs = {f"{folder}/config.pbtxt" for folder in FOLDERS}
    assert set(workshop.content()) == configs | {GRAPH, f"m.textual/{manifest.FILE}"}
    assert all((workshop.repository / folder / "1").is_dir() for folder in FOLDERS)
    assert prepared == Prepared("m.textual", FOLDERS, 8, {"y": (-1, 2), "z": (4,)}, ("a note",))
    assert workshop.left_over() == set()


class TestAgain:
    def test_nothing_is_done_where_nothing_changed(self, workshop: Workshop) -> None:
        first = workshop.prepare()
        before = workshop.identities()
        (workshop.source / "textual/model.onnx").write_text("weights")  # touched only
        (workshop.source / "README.md").write_text("no file that the part is made of")
        assert workshop.prepare() == workshop.find() == first
        assert workshop.identities() == before
        assert workshop.made == 1

    @pytest.mark.parametrize(("engine", "made"), [("auto", 2), ("onnxruntime", 1)])
    def test_on_another_processor_engines_are_chosen_anew_where_it_decides(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: str, made: int
    ) -> None:
        monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
        for kind in ("older", "newer", "newer"):
            (tmp_path / "cpuinfo").write_text(f"model name\t: {kind}\nflags\t\t: fpu\n")
            workshop.prepare(device="cpu", engine=engine)
        assert workshop.made == made

    @pytest.mark.parametrize("name", ["config.json", "textual/model.onnx", "textual/another"])
    def test_a_changed_source_is_prepared_anew(self, workshop: Workshop, name: str) -> None:
        workshop.prepare()
        (workshop.source / name).write_text("others")
        assert workshop.find() is None
        workshop.prepare()
        assert workshop.made == 2
        assert workshop.content()[GRAPH] == (workshop.source / "textual/model.onnx").read_text()
        assert workshop.left_over() == set()

    def test_by_other_settings_it_is_prepared_anew(self, workshop: Workshop) -> None:
        workshop.prepare()
        workshop.prepare(max_pixels=5)
        assert workshop.made == 2
        assert '"5"' in workshop.content()["m.textual.first/config.pbtxt"]
        assert workshop.find() is None, "it was made by other settings"

    @pytest.mark.parametrize("folder", FOLDERS)
    def test_a_missing_folder_is_healed(self, workshop: Workshop, folder: str) -> None:
        first, before = workshop.prepare(), workshop.content()
        shutil.rmtree(workshop.repository / folder)
        assert workshop.find() is None
        assert workshop.prepare() == first
        assert workshop.content().keys() == before.keys()

    @pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("wei")])
    def test_a_graph_that_is_gone_or_cut_is_healed(
        self, workshop: Workshop, damage: Callable[[Path], object]
    ) -> None:
        workshop.prepare()
        damage(workshop.repository / GRAPH)
        workshop.prepare()
        assert workshop.content()[GRAPH] == "weights"

    @pytest.mark.parametrize("content", ["", "{", '{"key": "x"}'])
    def test_a_broken_manifest_is_replaced(self, workshop: Workshop, content: str) -> None:
        first = workshop.prepare()
        (workshop.repository / "m.textual" / manifest.FILE).write_text(content)
        assert workshop.find() is None
        assert workshop.prepare() == workshop.find() == first


class TestCrashes:
    @pytest.mark.parametrize("fault", [RewriteError("no encoder"), OSError("no space left"), MemoryError()])
    @pytest.mark.parametrize("is_there", [False, True], ids=["new", "old one there"])
    def test_a_generator_that_fails_leaves_everything_as_it_was(
        self, workshop: Workshop, fault: Exception, is_there: bool
    ) -> None:
        if is_there:
            workshop.prepare()
            (workshop.source / "textual/model.onnx").write_text("others")
        before = workshop.content()
        workshop.fault = fault
        with pytest.raises(type(fault)):
            workshop.prepare()
        assert (workshop.content(), workshop.left_over()) == (before, set())

    @pytest.mark.parametrize("folder", FOLDERS)
    def test_a_crash_while_the_old_folders_are_moved_leaves_the_old_model_or_none(
        self, workshop: Workshop, folder: str
    ) -> None:
        workshop.prepare()
        before = workshop.content()
        (workshop.source / "textual/model.onnx").write_text("others")
        workshop.stuck = folder
        with pytest.raises(OSError, match=folder):
            workshop.prepare()
        if (workshop.repository / "m.textual").exists():
            assert workshop.content() == before
        assert workshop.left_over() == set()
        workshop.stuck = ""
        assert workshop.prepare().folders == FOLDERS
        assert workshop.content()[GRAPH] == "others"

    @pytest.mark.parametrize("folder", FOLDERS)
    @pytest.mark.parametrize("is_there", [False, True], ids=["new", "old one there"])
    def test_a_crash_between_two_folders_leaves_no_public_one(
        self, workshop: Workshop, folder: str, is_there: bool
    ) -> None:
        workshop.repository.mkdir(parents=True)
        if is_there:
            workshop.prepare()
            (workshop.source / "textual/model.onnx").write_text("others")
            shutil.rmtree(workshop.repository / folder)
        obstacle = workshop.repository / folder
        obstacle.symlink_to("nowhere")  # no folder can be moved there
        with pytest.raises(OSError, match=folder):
            workshop.prepare()
        assert not (workshop.repository / "m.textual").is_dir(), "the public folder is not of one piece"
        assert workshop.left_over() == set()
        obstacle.unlink()
        assert workshop.prepare().folders == FOLDERS
        assert workshop.content()[GRAPH] == ("others" if is_there else "weights")

    def test_what_a_killed_process_left_behind_is_cleared_away(self, workshop: Workshop) -> None:
        (workshop.repository.parent / ".staging-killed/m.textual").mkdir(parents=True)
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

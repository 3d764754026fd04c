"""Triton's model repository: folders are written whole or not at all, and again only when their sources change."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from adapter.preparation.triton_models.config import Model, render
from adapter.protocol import Part, TaskName

FORMAT = 4
"""Raised when the generator writes something else for the same sources: everything is then prepared anew."""

VERSION = "1"
GRAPH = "model.onnx"
MANIFEST = "preparation.json"


@dataclass(frozen=True)
class Preferences:
    """The settings that decide what is written."""

    clip_resize: str = "release"
    max_pixels: int = 50_000_000
    max_batch_size_faces: int = 16
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    device: str = "cpu"
    gpu_instances: int = 1
    gpu_memory_mib: int = 4096
    precision: str = "fp32"


@dataclass(frozen=True)
class Prepared:
    """A part that lies in the repository, ready to be loaded.

    Attributes:
        model: Triton's name of the public model.
        folders: every folder that belongs to it, the public one last.
        max_batch_size: items that one request may hold; at least 1.
        outputs: dims of its outputs without the batch axis; -1 is variable.
        notes: what the log should say of it, such as why it cannot be batched.
    """

    model: str
    folders: tuple[str, ...]
    max_batch_size: int
    outputs: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Draft:
    """What a generator makes of a source: the folders' configs; their files lie in the staging folder already."""

    models: Sequence[Model]  # the public one last
    notes: tuple[str, ...] = ()


Generator = Callable[[Path, str, Path, Preferences], Draft]
"""(source folder, public Triton name, staging folder, preferences) → draft."""


@dataclass(frozen=True)
class Family:
    """How the models of one task and type are prepared, and which files of the cache they are made of."""

    sources: Sequence[str]
    generate: Generator


def public_name(part: Part) -> str:
    """Triton's name of the model that a part is asked by."""
    return f"{part.name}.{part.type}"


def find_prepared(
    part: Part, source: Path, repository: Path, family: Family, preferences: Preferences
) -> Prepared | None:
    """A part that lies in the repository already, made of the same sources with the same preferences."""
    manifest = _read_manifest(repository / public_name(part))
    sources = _fingerprint(source, family.sources, manifest.get("sources", {}))
    if manifest.get("key") != _key(part.task, sources, preferences):
        return None
    return read_prepared(manifest["prepared"]) if _is_whole(repository, manifest) else None


def prepare(part: Part, source: Path, repository: Path, family: Family, preferences: Preferences) -> Prepared:
    """Writes the Triton folders of a part, unless they are there already.

    Args:
        source: the model's folder in the cache, in Immich's layout.
        repository: Triton's model repository.

    Raises:
        OSError: a source is missing, or the repository cannot be written.
        RewriteError: the graph is not one that can be served with certainty.
    """
    repository.mkdir(parents=True, exist_ok=True)
    with FileLock(repository.parent / "preparation.lock"), _staging(repository.parent) as staging:
        if found := find_prepared(part, source, repository, family, preferences):
            return found  # another process was quicker
        name = public_name(part)
        sources = _fingerprint(source, family.sources, {})
        draft = family.generate(source, name, staging, preferences)
        prepared = _describe(name, draft)
        for model in draft.models:
            _write_folder(staging, model)
        manifest = {
            "key": _key(part.task, sources, preferences),
            "sources": sources,
            "prepared": asdict(prepared),
            "files": {name: (staging / name).stat().st_size for name in _files(staging)},
        }
        (staging / name / MANIFEST).write_text(json.dumps(manifest, indent=1))
        _publish(staging, repository, prepared.folders)
    return prepared


def read_prepared(stored: Mapping[str, Any]) -> Prepared:
    """What `dataclasses.asdict` made of it, after a way through JSON."""
    outputs = {name: tuple(dims) for name, dims in stored["outputs"].items()}
    return Prepared(
        model=stored["model"],
        folders=tuple(stored["folders"]),
        max_batch_size=stored["max_batch_size"],
        outputs=outputs,
        notes=tuple(stored["notes"]),
    )


def version_folder(staging: Path, model: str) -> Path:
    """The folder for a model's files, made if it is not there."""
    folder = staging / model / VERSION
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_folder(staging: Path, model: Model) -> None:
    version_folder(staging, model.name)  # Triton wants it even where it is empty
    (staging / model.name / "config.pbtxt").write_text(render(model))


def _publish(staging: Path, repository: Path, folders: Sequence[str]) -> None:
    """Moves the folders into place. The public one, which holds the manifest, goes first and comes last."""
    for folder in reversed(folders):
        if (repository / folder).exists():
            (repository / folder).rename(staging / f"{folder}.old")
    for folder in folders:
        (staging / folder).rename(repository / folder)


@contextmanager
def _staging(parent: Path) -> Iterator[Path]:
    for stale in parent.glob(".staging-*"):  # of a process that was killed: who is alive holds the lock
        shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=".staging-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _describe(name: str, draft: Draft) -> Prepared:
    public = draft.models[-1]
    assert public.name == name
    skip = 0 if public.max_batch_size else 1  # without batching, dims hold the batch axis too
    return Prepared(
        model=name,
        folders=tuple(model.name for model in draft.models),
        max_batch_size=max(1, public.max_batch_size),
        outputs={tensor.name: tensor.dims[skip:] for tensor in public.outputs},
        notes=draft.notes,
    )


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _is_whole(repository: Path, manifest: Mapping[str, Any]) -> bool:
    """False where a file is gone, or cut short by a crash of the host."""
    files = manifest.get("files", {})
    return bool(files) and all(_size(repository / name) == size for name, size in files.items())


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return {}
    return manifest


def _key(task: TaskName, sources: Mapping[str, Sequence[object]], preferences: Preferences) -> str:
    hashes = {name: entry[-1] for name, entry in sources.items()}
    return hashlib.sha256(json.dumps([FORMAT, task, hashes, asdict(preferences)]).encode()).hexdigest()


def _fingerprint(
    source: Path, names: Sequence[str], known: Mapping[str, Sequence[object]]
) -> dict[str, Sequence[object]]:
    """Size, modification time and SHA-256 of every source; a file of known size and time is not read again."""
    found: dict[str, Sequence[object]] = {}
    for path in sorted({path for name in names for path in source.glob(name)}):
        name, stat = str(path.relative_to(source)), path.stat()
        entry = known.get(name)
        if entry and list(entry[:2]) == [stat.st_size, stat.st_mtime_ns]:
            found[name] = entry
        else:
            found[name] = [stat.st_size, stat.st_mtime_ns, _sha256(path)]
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

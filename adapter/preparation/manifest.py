"""What was made of a part, by which settings and of which files: told by the manifest in its public folder."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adapter.preparation.catalog import files_of, twin_of
from adapter.preparation.config import Engine
from adapter.processor import describe
from adapter.protocol import MAIN, Part
from adapter.setting_types import Device, EngineChoice
from adapter.settings import PreparationSettings

FORMAT = 7
"""Raised when something else is written for the same sources: everything is then prepared anew."""

FILE = "preparation.json"

Sources = Mapping[str, Sequence[object]]
"""By path: size, modification time and SHA-256."""


@dataclass(frozen=True)
class Prepared:
    """A part that lies in the repository, ready to be loaded.

    Attributes:
        model: Triton's name of the public model.
        folders: every folder that belongs to it, the public one last.
        max_batch_size: items that one request may hold; at least 1.
        outputs: dims of its outputs without the batch axis; -1 is variable.
        notes: what the log should say of it, such as why it cannot be batched.
        device: what its graphs run on: Triton loads it there or not at all.
        engine: what computes its graph.
        revision: of the files that it was made of.
        cosine: of its vectors to those of the other revision, where that was there too.
    """

    model: str
    folders: tuple[str, ...]
    max_batch_size: int
    outputs: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...] = ()
    device: str = "cpu"
    engine: Engine = field(default_factory=Engine)
    revision: str = MAIN
    cosine: float | None = None


def public_name(part: Part) -> str:
    """Triton's name of the model that a part is asked by."""
    return f"{part.name}.{part.type}"


def find(part: Part, source: Path, repository: Path, settings: PreparationSettings) -> Prepared | None:
    """A part that lies in the repository already, made of the same sources by the same settings.

    Args:
        source: the model's folder in the cache, in Immich's layout.
        repository: Triton's model repository.

    Raises:
        OSError: a source cannot be read.
    """
    manifest = _read(part, repository)
    if manifest.get("key") != _key(part, fingerprint(part, source, manifest.get("sources", {})), settings):
        return None
    return parse(manifest["prepared"]) if _is_whole(repository, manifest) else None


def last(part: Part, repository: Path) -> Prepared | None:
    """What was made of a part last, be it by other settings or of other files."""
    try:
        return parse(_read(part, repository)["prepared"])
    except (KeyError, TypeError):  # there is nothing, or something of another version
        return None


def write(part: Part, staging: Path, sources: Sources, settings: PreparationSettings, made: Prepared) -> None:
    """Puts the manifest into the public folder, where all the folders of a part are complete in `staging`."""
    files = sorted(path for path in staging.rglob("*") if path.is_file())
    manifest = {
        "key": _key(part, sources, settings),
        "sources": sources,
        "prepared": asdict(made),
        "files": {str(path.relative_to(staging)): path.stat().st_size for path in files},
    }
    (staging / made.model / FILE).write_text(json.dumps(manifest, indent=1))


def parse(stored: Mapping[str, Any]) -> Prepared:
    """What `dataclasses.asdict` made of a `Prepared`, after a way through JSON."""
    return Prepared(
        model=stored["model"],
        folders=tuple(stored["folders"]),
        max_batch_size=stored["max_batch_size"],
        outputs={name: tuple(dims) for name, dims in stored["outputs"].items()},
        notes=tuple(stored["notes"]),
        device=stored["device"],
        engine=Engine(**stored["engine"]),
        revision=stored["revision"],
        cosine=stored["cosine"],
    )


def fingerprint(part: Part, source: Path, known: Sources) -> Sources:
    """Every file that the part is made of, and its twin; one whose size and time are `known` is not read again."""
    folders = filter(None, (source, twin_of(part, source)))
    names = (os.path.relpath(path, source) for folder in folders for path in files_of(part, folder))
    return {name: _facts(source / name, known.get(name)) for name in names}


def _facts(path: Path, known: Sequence[object] | None) -> Sequence[object]:
    stat = path.stat()
    if known and list(known[:2]) == [stat.st_size, stat.st_mtime_ns]:
        return known
    with path.open("rb") as file:
        return [stat.st_size, stat.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()]


def _key(part: Part, sources: Sources, settings: PreparationSettings) -> str:
    hashes = {name: facts[-1] for name, facts in sources.items()}
    content = [FORMAT, part.task, hashes, settings.model_dump(mode="json")]
    if settings.device is Device.CPU and settings.engine is EngineChoice.AUTO:  # then the processor decides
        content.append(describe())
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _is_whole(repository: Path, manifest: Mapping[str, Any]) -> bool:
    """False where a file is gone, or cut short by a crash of the host."""
    files = {repository / name: size for name, size in manifest.get("files", {}).items()}
    return bool(files) and all(path.is_file() and path.stat().st_size == files[path] for path in files)


def _read(part: Part, repository: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((repository / public_name(part) / FILE).read_text())
    except (OSError, ValueError):
        return {}
    return manifest

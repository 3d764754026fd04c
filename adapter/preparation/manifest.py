"""What was made of a part, by which settings and of which files: told by the manifest in its public folder."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adapter.protocol import Part
from adapter.settings import PreparationSettings

FORMAT = 5
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
    """

    model: str
    folders: tuple[str, ...]
    max_batch_size: int
    outputs: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...] = ()
    device: str = "cpu"


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
    manifest = _read(repository / public_name(part))
    if manifest.get("key") != _key(part, fingerprint(part, source, manifest.get("sources", {})), settings):
        return None
    return parse(manifest["prepared"]) if _is_whole(repository, manifest) else None


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
    )


def fingerprint(part: Part, source: Path, known: Sources) -> Sources:
    """Every file that the part is made of; one whose size and time are `known` is not read again."""
    patterns = {f"{part.type}/*", *(name for name in part.row.files if "/" not in name)}
    paths = sorted({path for pattern in patterns for path in source.glob(pattern)})
    return {
        name: _facts(source / name, known.get(name)) for name in (str(p.relative_to(source)) for p in paths)
    }


def _facts(path: Path, known: Sequence[object] | None) -> Sequence[object]:
    stat = path.stat()
    if known and list(known[:2]) == [stat.st_size, stat.st_mtime_ns]:
        return known
    with path.open("rb") as file:
        return [stat.st_size, stat.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()]


def _key(part: Part, sources: Sources, settings: PreparationSettings) -> str:
    hashes = {name: facts[-1] for name, facts in sources.items()}
    content = [FORMAT, part.task, hashes, settings.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _is_whole(repository: Path, manifest: Mapping[str, Any]) -> bool:
    """False where a file is gone, or cut short by a crash of the host."""
    files = manifest.get("files", {})
    return bool(files) and all(_size(repository / name) == size for name, size in files.items())


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _read(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / FILE).read_text())
    except (OSError, ValueError):
        return {}
    return manifest

"""`immich-triton models`: what is there, and looking after it without a running service."""

from collections.abc import Iterator
from dataclasses import dataclass

from adapter.errors import SetupError
from adapter.preparation.catalog import KNOWN
from adapter.preparation.door import Preparation
from adapter.protocol import Part, TaskName, clean_name, types_of
from adapter.settings import Settings


@dataclass(frozen=True)
class Row:
    """A model as `list` shows it."""

    task: str
    name: str
    here: str
    prepared: str
    size_bytes: int


def list_models(settings: Settings, *, known: bool) -> Iterator[Row]:
    """The models that can be served without a download; with `known` every name that Immich knows too."""
    preparation = Preparation(settings)
    for task in TaskName:
        here = preparation.names(task)
        for name in [*here, *(name for name in KNOWN[task] if known and name not in here)]:
            parts = parts_of(name, task)
            there = [part.type for part in parts if preparation.is_here(part)]
            prepared = [part.type for part in parts if preparation.is_prepared(part)]
            yield Row(task, name, " ".join(there), " ".join(prepared), _size(settings, task, name))


def parts_of(name: str, task: TaskName | None = None) -> list[Part]:
    """The parts of a model.

    Raises:
        SetupError: the name is none, or belongs to no task.
    """
    try:
        cleaned = clean_name(name)
    except ValueError as error:
        raise SetupError(str(error)) from error
    task = task or next((known for known, names in KNOWN.items() if cleaned in names), None)
    if task is None:
        raise SetupError(f"{name!r} is no name that Immich knows; say its task: --task clip")
    return [Part(task, type_name, cleaned) for type_name in types_of(task)]


def _size(settings: Settings, task: TaskName, name: str) -> int:
    folder = settings.models / task / name
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

"""`immich-triton models`: what is there, and looking after it without a running service."""

import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapter.errors import SetupError
from adapter.preparation.catalog import KNOWN, Catalog
from adapter.preparation.families import FAMILIES
from adapter.preparation.fetch.download import Downloads
from adapter.preparation.fetch.lockfile import Lockfile
from adapter.preparation.repository import MANIFEST, Prepared
from adapter.protocol import Part, TaskName, clean_name
from adapter.service import prepare_part
from adapter.settings import Settings


@dataclass(frozen=True)
class Row:
    """A model as `list` shows it."""

    task: str
    name: str
    here: str
    prepared: str
    size_bytes: int


def list_models(settings: Settings, catalog: Catalog, *, known: bool) -> Iterator[Row]:
    """The models that lie in a folder; with `known` every name that Immich knows too."""
    for task in TaskName:
        here = catalog.available(task)
        for name in [*here, *(name for name in KNOWN[task] if known and name not in here)]:
            parts = parts_of(name, task)
            there = [part.type for part in parts if catalog.has(part)]
            prepared = [part.type for part in parts if _manifest(settings, part).exists()]
            yield Row(task, name, " ".join(there), " ".join(prepared), _size(settings, task, name))


def parts_of(name: str, task: TaskName | None = None) -> list[Part]:
    """Both halves of a model.

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
    return [Part(task, kind, cleaned) for of, kind in FAMILIES if of is task]


def remove(settings: Settings, parts: Sequence[Part]) -> list[Path]:
    """Deletes a model's files, its pinned revision and what was prepared of it; returns the folders that are gone."""
    folders = [settings.models / parts[0].task / parts[0].name]
    for part in parts:
        public = _manifest(settings, part).parent
        folders += [*public.parent.glob(f"{public.name}.*"), public]
    gone = [folder for folder in folders if folder.exists()]
    for folder in gone:
        shutil.rmtree(folder)
    if settings.models.exists():
        Lockfile(settings.models).forget(f"{parts[0].task}/{parts[0].name}")
    return gone


async def prepare(settings: Settings, parts: Sequence[Part]) -> AsyncIterator[tuple[Part, Prepared]]:
    """Fetches what is missing and prepares each part, as the service does at a first request."""
    catalog, downloads = Catalog(settings.models, settings.demo_models), Downloads(settings.models)
    try:
        for part in parts:
            yield part, await prepare_part(part, catalog, downloads, settings)
    finally:
        downloads.close()


def _manifest(settings: Settings, part: Part) -> Path:
    """The manifest of a part's preparation."""
    return settings.repository / f"{part.name}.{part.type}" / MANIFEST


def _size(settings: Settings, task: TaskName, name: str) -> int:
    folder = settings.models / task / name
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

"""The one door to preparation: whoever needs a part ready to be loaded, or looks after models, comes here."""

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapter.errors import SetupError, of_disk
from adapter.preparation import manifest, process
from adapter.preparation.catalog import (
    DEMO,
    KNOWN,
    Catalog,
    can_be_built,
    files_of,
    is_known,
    revision_of,
    unreadable,
)
from adapter.preparation.fetch.download import Downloads
from adapter.preparation.fetch.hub import size_of
from adapter.preparation.fetch.integrity import Check, verify
from adapter.preparation.fetch.lockfile import Lockfile
from adapter.preparation.fetch.progress import Progress
from adapter.preparation.manifest import Prepared, public_name
from adapter.preparation.resizing import unlike_shortest
from adapter.protocol import MAIN, V2, Part, TaskName, TypeName, types_of
from adapter.settings import Settings

__all__ = ["Check", "Here", "Preparation", "Prepared", "Progress"]


@dataclass(frozen=True)
class Here:
    """A part that lies in a folder, and the bytes of its files, which are its weights but for little."""

    part: Part
    revision: str
    bytes: int
    prepared: bool


class Preparation:
    """What is in the cache folder, and what is made of it in Triton's model repository.

    Args:
        download_ended: told `ok` or `failed` when a download ends.
    """

    def __init__(self, settings: Settings, download_ended: Callable[[str], object] = lambda _: None) -> None:
        self._settings = settings
        self._revision = settings.model_revision
        self._catalog = Catalog(settings.models, settings.demo_models, revision=self._revision or MAIN)
        self._downloads = Downloads(
            settings.models, organization=settings.model_organization, ended=download_ended
        )
        self._built: set[str] = set()

    async def ensure(self, part: Part) -> Prepared:
        """Makes sure that a part lies in the repository, made of its files and by the settings as they are now.

        Raises:
            InvalidEntries: there is no such model; near names are given.
            ModelRefused: its files are not fit to be served.
            ModelUnavailable: it cannot be had or prepared now.
        """
        repository, settings = self._settings.repository, self._settings.preparation
        try:
            source = await self.obtain(part)
            found = await asyncio.to_thread(manifest.find, part, source, repository, settings)
            return found or await process.run_worker(part, source, repository, settings)
        except OSError as error:  # a source cannot be read, or no process be started
            raise of_disk(f"{part} cannot be prepared: {error}", error) from error

    async def obtain(self, part: Part) -> Path:
        """The folder of a model with the part's files: downloaded or built, where they are not there.

        Raises:
            InvalidEntries, ModelRefused, ModelUnavailable: as `ensure`.
        """
        if part.name == DEMO[part.task] and part.name not in self._built:
            await process.build_demo_model(part, self._settings.demo_models)
            self._built.add(part.name)
        if is_known(part):
            return await self._downloads.obtain(part, await asyncio.to_thread(self._revision_of, part))
        return self._catalog.locate(part)

    def names(self, task: TaskName) -> list[str]:
        """Models that can be served without a download: those that lie here, then the demo's."""
        demo = {DEMO[task]} if can_be_built(task) else set()
        return [*sorted({*self._catalog.available(task)} - demo), *demo]

    def downloads(self) -> Mapping[Part, Progress]:
        """What is being fetched now, and how far it is."""
        return dict(self._downloads.under_way)

    def here(self) -> list[Here]:
        """Every part that lies in a folder, of each revision."""
        return [
            Here(
                part,
                revision_of(part, folder),
                sum(map(size_of, files_of(part, folder))),
                bool(self.prepared(part)),
            )
            for part, folder in self._catalog.parts()
        ]

    def unreadable(self) -> list[Path]:
        """What this user may not read of the models in the cache folder."""
        return unreadable(self._settings.models)

    def revisions(self, part: Part) -> list[str]:
        """The revisions of a part whose graph lies in a folder."""
        return self._catalog.revisions(part)

    def prepared(self, part: Part) -> Prepared | None:
        """What was made of a part last, be it by other settings."""
        return manifest.last(part, self._settings.repository)

    def resized_otherwise(self) -> dict[str, str]:
        """CLIP models that lie here and ask for another resize than Immich 3.2 and older gave them: name → which."""
        parts = [
            Part(TaskName.CLIP, TypeName.VISUAL, name) for name in self._catalog.available(TaskName.CLIP)
        ]
        here = {part.name: self._catalog.locate(part) for part in parts if self.revisions(part)}
        found = {name: unlike_shortest(folder) for name, folder in here.items()}
        return {name: resize for name, resize in found.items() if resize}

    def verify(self, name: str) -> list[Check]:
        """Compares a model's files with the hashes under which they were fetched.

        Raises:
            LockfileError: the lock file is damaged.
        """
        return verify(self._settings.models, name)

    def folders_of(self, parts: Sequence[Part]) -> list[Path]:
        """Every folder of a model: in the cache folder, and of what was made of it."""
        folders = [self._settings.models / model for model in sorted({part.folder() for part in parts})]
        for part in parts:
            public = self._settings.repository / public_name(part)
            folders += [*public.parent.glob(f"{public.name}.*"), public]
        return [folder for folder in folders if folder.exists()]

    def remove(self, parts: Sequence[Part]) -> None:
        """Deletes a model's files, its pinned revision and what was made of it.

        Raises:
            LockfileError: the lock file is damaged.
            SetupError: a folder cannot be deleted.
        """
        lockfile = Lockfile(self._settings.models)
        lockfile.read()  # a damaged one tells before anything is gone
        for folder in self.folders_of(parts):
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise SetupError(f"{folder} cannot be deleted: {error.strerror}.") from error
        for model in {part.folder() for part in parts}:
            lockfile.forget(model)

    def task_of(self, name: str) -> TaskName:
        """The task of a model that Immich knows, or that lies here.

        Raises:
            SetupError: there is none of that name, or one for several tasks.
        """
        tasks = [task for task in TaskName if name in (*KNOWN[task], *self.names(task))]
        if len(tasks) > 1:
            raise SetupError(
                f"{name} is a model for {' and for '.join(tasks)}: say which, as in --task {tasks[0]}."
            )
        if not tasks:
            raise SetupError(f"There is no model {name!r}. {self._catalog.hint(name, *TaskName)}")
        return tasks[0]

    def close(self) -> None:
        """Ends downloads under way, soon; what has arrived is kept."""
        self._downloads.close()

    def _revision_of(self, part: Part) -> str:
        """The revision that is set; or else the one of which the part is here, or the model's other part."""
        if self._revision:
            return self._revision
        kin = [part, *(replace(part, type=type_name) for type_name in types_of(part.task))]
        here = (name for each in kin for name in (MAIN, V2) if self._downloads.find(each, name))
        return next(here, MAIN)

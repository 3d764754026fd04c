"""Triton's model repository: folders are written whole or not at all, and again only when their sources change."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from adapter.preparation import manifest
from adapter.preparation.config import render
from adapter.preparation.manifest import Prepared, public_name
from adapter.preparation.triton_models import generate
from adapter.preparation.triton_models.shared import Generated, version_folder
from adapter.protocol import Part
from adapter.settings import PreparationSettings

Generate = Callable[[Part, Path, Path, PreparationSettings], Generated]


def prepare(
    part: Part,
    source: Path,
    repository: Path,
    settings: PreparationSettings,
    generate: Generate = generate,
) -> Prepared:
    """Writes the Triton folders of a part, unless they are there already.

    Args:
        source: the model's folder in the cache, in Immich's layout.
        repository: Triton's model repository.

    Raises:
        OSError: a source is missing, or the repository cannot be written.
        RewriteError, ProofFailed: the graph is not one that can be served with certainty.
    """
    repository.mkdir(parents=True, exist_ok=True)
    with FileLock(repository.parent / "preparation.lock"), _staging(repository.parent) as staging:
        if found := manifest.find(part, source, repository, settings):
            return found  # another process was quicker
        sources = manifest.fingerprint(part, source, {})
        generated = generate(part, source, staging, settings)
        for model in generated.models:
            version_folder(staging, model.name)  # Triton wants it even where it is empty
            (staging / model.name / "config.pbtxt").write_text(render(model))
        prepared = _describe(public_name(part), generated)
        manifest.write(part, staging, sources, settings, prepared)
        _publish(staging, repository, prepared.folders)
    return prepared


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


def _describe(name: str, generated: Generated) -> Prepared:
    public = generated.models[-1]
    assert public.name == name
    skip = 0 if public.max_batch_size else 1  # without batching, dims hold the batch axis too
    return Prepared(
        model=name,
        folders=tuple(model.name for model in generated.models),
        max_batch_size=max(1, public.max_batch_size),
        outputs={tensor.name: tensor.dims[skip:] for tensor in public.outputs},
        notes=generated.notes,
        device="gpu" if any(model.kind == "KIND_GPU" for model in generated.models) else "cpu",
    )

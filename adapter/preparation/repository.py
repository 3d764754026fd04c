"""Triton's model repository: folders are written whole or not at all, and again only when their sources change."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from adapter.preparation import manifest
from adapter.preparation.catalog import revision_of, twin_of
from adapter.preparation.config import Engine, render
from adapter.preparation.graphs.file import RewriteError
from adapter.preparation.graphs.precision import lowest_cosine, rounded_down
from adapter.preparation.graphs.proof import ProofFailed
from adapter.preparation.graphs.rewrite import vectors_of
from adapter.preparation.manifest import Prepared, public_name
from adapter.preparation.triton_models import ENCODERS, generate
from adapter.preparation.triton_models.shared import Generated, version_folder
from adapter.protocol import GRAPH, Part
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
        prepared = _compared(_describe(part, source, generated), part, source)
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


def _compared(prepared: Prepared, part: Part, source: Path) -> Prepared:
    """Compares an encoder's vectors with those of the other revision, where that is there too."""
    twin, recipe = twin_of(part, source), ENCODERS.get((part.task, part.type))
    if not twin or not recipe:
        return prepared
    other = revision_of(part, twin)
    try:
        vectors = [vectors_of(folder / part.type / GRAPH, recipe(folder)) for folder in (source, twin)]
        cosine = rounded_down(lowest_cosine(*vectors))
    except (OSError, RewriteError, ProofFailed, KeyError, ValueError) as error:
        return replace(
            prepared, notes=(*prepared.notes, f"cannot be compared with revision {other}: {error}")
        )
    note = f"its cosine to revision {other} is {cosine} or more, on {len(vectors[0])} samples"
    return replace(prepared, cosine=cosine, notes=(*prepared.notes, note))


def _describe(part: Part, source: Path, generated: Generated) -> Prepared:
    name, public = public_name(part), generated.models[-1]
    assert public.name == name
    engine = next((model.engine for model in generated.models if model.engine), Engine())
    on_gpu = "GPU" in engine.parameters.values() or any(m.kind == "KIND_GPU" for m in generated.models)
    skip = 0 if public.max_batch_size else 1  # without batching, dims hold the batch axis too
    return Prepared(
        model=name,
        folders=tuple(model.name for model in generated.models),
        max_batch_size=max(1, public.max_batch_size),
        outputs={tensor.name: tensor.dims[skip:] for tensor in public.outputs},
        revision=revision_of(part, source),
        notes=generated.notes,
        device="gpu" if on_gpu else "cpu",
        engine=engine,
    )

"""A published ONNX graph made ready for Triton: uint8 pictures in, batchable, and proven to say the same."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from adapter.preparation.config import Tensor
from adapter.preparation.graphs.affine import normalise_channels
from adapter.preparation.graphs.batching import make_batch_dynamic, pin_batch
from adapter.preparation.graphs.file import RewriteError, read, write
from adapter.preparation.graphs.pixels import PIXELS, Normalisation, fold_pixels, image_input, source_input
from adapter.preparation.graphs.proof import (
    BATCH_TOLERANCE,
    SINGLE_TOLERANCE,
    Answer,
    Interface,
    ProofFailed,
    Sample,
    Session,
    prove,
)
from adapter.preparation.graphs.shortening import Shortening, shorten


@dataclass(frozen=True)
class Recipe:
    """How a graph is rewritten.

    Attributes:
        samples: three or more items that the proof is made with: an array for each input of the rewritten
            graph, without the batch axis, all of the same shapes and different from each other. With a
            normalisation: `{"pixels": uint8 (height, width, 3)}`, RGB.
        normalisation: what is folded into a graph that takes pictures.
        shortening: what a graph of texts is proven with to take short ones, if it shall.
        moves_factors: whether factors and shifts between convolutions are moved into them. That rounds otherwise, so
            the answers may differ from the source's as those of a batch may.
    """

    samples: Sequence[Sample]
    normalisation: Normalisation | None = None
    shortening: Shortening | None = None
    moves_factors: bool = False

    @property
    def tolerance(self) -> float:
        return BATCH_TOLERANCE if self.moves_factors else SINGLE_TOLERANCE


@dataclass(frozen=True)
class Rewritten:
    """A graph that lies at its target, proven.

    Attributes:
        inputs, outputs: for the config; dims are without the batch axis if `batchable`, with it (1) if not.
        batchable: whether its axis 0 is a batch of any size; if not, `max_batch_size` is 0.
        why_not: why it is not.
        shortened: whether it takes texts of any length up to the full one.
        half: whether it computes in float16.
        notes: what else the log should say of it.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batchable: bool
    why_not: str | None = None
    shortened: bool = False
    half: bool = False
    notes: tuple[str, ...] = ()

    @property
    def embedding(self) -> Tensor:
        """Its vector, without the batch axis: some exports give more than that.

        Raises:
            RewriteError: it gives none.
        """
        skip = 0 if self.batchable else 1
        for tensor in self.outputs:
            if tensor.type == "FP32" and len(tensor.dims) - skip == 1:
                return Tensor(tensor.name, "FP32", tensor.dims[skip:])
        raise RewriteError(f"the graph gives no float32 vector; its outputs are {self.outputs}")


def rewrite(source: Path, target: Path, recipe: Recipe) -> Rewritten:
    """Writes the graph at `source` to `target` as Triton shall run it: batchable where that could be proven.

    Nothing appears at `target` but what was proven; files of weights are linked or copied beside it.

    Raises:
        OSError: a file cannot be read or written.
        RewriteError: it is no graph, or cannot be brought into the form that the recipe asks for.
        ProofFailed: the source itself cannot be run, or not even the form for single items gives its answers.
    """
    answers = Session(source).alone(_source_samples(source, recipe))
    unproven = target.with_name(f".{target.name}.unproven")
    try:
        try:
            interface, why_not = _write(source, unproven, recipe, answers, batched=True), None
        except (RewriteError, ProofFailed) as error:
            interface, why_not = _write(source, unproven, recipe, answers, batched=False), str(error)
        rewritten = Rewritten(interface.inputs, interface.outputs, why_not is None, why_not)
        if recipe.shortening:
            rewritten = _shortened(source, unproven, rewritten, recipe.shortening)
        unproven.replace(target)
    finally:
        unproven.unlink(missing_ok=True)
    return rewritten


def vectors_of(source: Path, recipe: Recipe) -> NDArray[np.float64]:
    """What an encoder, as it was published, gives for the recipe's samples: (n, dimensions)."""
    answers = Session(source).alone(_source_samples(source, recipe))
    floats = ([array for array in answer.values() if array.dtype.kind == "f"] for answer in answers)
    return np.concatenate(
        [next(array for array in each if array.ndim == 2) for each in floats], dtype=np.float64
    )


def _shortened(source: Path, unproven: Path, rewritten: Rewritten, shortening: Shortening) -> Rewritten:
    try:
        shorten(source, unproven, shortening, batched=rewritten.batchable)
    except (RewriteError, ProofFailed) as error:
        return replace(rewritten, notes=(f"all texts are padded to the full length: {error}",))
    inputs = [replace(tensor, dims=(*tensor.dims[:-1], -1)) for tensor in rewritten.inputs]
    return replace(rewritten, inputs=tuple(inputs), shortened=True)


def _write(
    source: Path, unproven: Path, recipe: Recipe, answers: Sequence[Answer], *, batched: bool
) -> Interface:
    form = make_batch_dynamic if batched else pin_batch
    write(form(_read_folded(source, recipe)), unproven, source)
    return prove(unproven, recipe.samples, answers, batched=batched, tolerance=recipe.tolerance)


def _read_folded(source: Path, recipe: Recipe) -> onnx.ModelProto:
    model = normalise_channels(read(source)) if recipe.moves_factors else read(source)
    return fold_pixels(model, recipe.normalisation) if recipe.normalisation else model


def _source_samples(source: Path, recipe: Recipe) -> Sequence[Sample]:
    """The recipe's samples as the source takes them."""
    if recipe.normalisation is None:
        return recipe.samples
    model = read(source)
    name = image_input(model).name
    return [{name: source_input(model, sample[PIXELS], recipe.normalisation)} for sample in recipe.samples]

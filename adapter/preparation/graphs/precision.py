"""Encoders in less precision than they were published in, for speed: measured against the full one, or refused.

Detectors and OCR stay as they are: thresholds decide what they say, and the likelier of two characters. A small error
is a small angle in a vector; there it is a lost face or a wrong letter.
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime import GraphOptimizationLevel

from adapter.preparation.graphs import samples
from adapter.preparation.graphs.engine import Judge
from adapter.preparation.graphs.file import RewriteError, copy_links, external_locations, read
from adapter.preparation.graphs.proof import Answer, ProofFailed, Sample, Session
from adapter.preparation.graphs.reduction import halve, is_transformer, quantise, round_to_half
from adapter.preparation.graphs.rewrite import Rewritten
from adapter.setting_types import Precision


@dataclass(frozen=True)
class Reduction:
    """A precision below the published one.

    Attributes:
        limit: lowest cosine to the vectors in float32. The similarity of such a vector to one in 512 dimensions is
            off by about sqrt(2 * (1 - limit) / 512): 0.002 for 0.999, 0.009 for 0.98. A search tells its hits apart
            by hundredths.
        graphs: what makes the graph that is served, and then others that are measured too.
        level: how far the runtime may optimise them for it.
    """

    limit: float
    graphs: Sequence[Callable[[Path, Path], None]]
    level: GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL


REDUCTIONS: Mapping[Precision, Reduction] = {
    # The level above, of layouts for CPUs, crashes on float16: microsoft/onnxruntime, issue 28392.
    Precision.FP16: Reduction(0.999, (halve, round_to_half), GraphOptimizationLevel.ORT_ENABLE_EXTENDED),
    Precision.INT8: Reduction(0.98, (quantise,)),
}
"""`fp16` is for GPUs. `int8` is for CPUs: dynamic quantisation, of transformers only."""


ENGINES_LIMIT = 0.9999
"""The same where an engine computes the graph in bfloat16."""


def sample_count(precision: Precision) -> int:
    """How many samples a recipe should have: more where a precision is measured with them."""
    return samples.COUNT if precision in (Precision.FP32, Precision.TF32) else samples.MOST


def same_directions(output: str) -> Judge:
    """Compares the vectors of an encoder in full precision with those in bfloat16."""

    def judge(expected: Sequence[Answer], found: Sequence[Answer]) -> str:
        rows = [np.concatenate([answer[output] for answer in answers]) for answers in (expected, found)]
        lowest = lowest_cosine(*(np.asarray(row, np.float64) for row in rows))
        if lowest < ENGINES_LIMIT:
            raise ProofFailed(f"a vector's cosine to fp32 is {rounded_down(lowest)}, under {ENGINES_LIMIT}")
        return f"cosine to fp32 is {rounded_down(lowest)} or more, on {len(rows[0])} vectors"

    return judge


def reduce_precision(
    full: Rewritten, graph: Path, items: Sequence[Sample], precision: Precision
) -> Rewritten:
    """Converts an encoder's rewritten graph to another precision, in its place.

    Args:
        full: the graph in float32.
        items: inputs of it that the result is measured with.

    Raises:
        OSError: a file cannot be read or written.
        RewriteError: it cannot be had in that precision, or its vectors are off too far.
    """
    if precision not in REDUCTIONS:
        return full
    if precision is Precision.INT8 and not is_transformer(graph):
        return replace(full, notes=(*full.notes, "fp32, not int8: it is made of convolutions"))
    try:
        lowest = _reduce(full, graph, items, REDUCTIONS[precision])
    except OSError:
        raise
    except Exception as error:  # those of the converters have no base class of their own
        raise RewriteError(
            f"it cannot be had in {precision}: {error}; set IMMICH_TRITON_PRECISION=fp32"
        ) from error
    note = f"{precision}: cosine to fp32 is {rounded_down(lowest)} or more, on {len(items)} samples"
    return replace(full, half=precision is Precision.FP16, notes=(*full.notes, note))


def _reduce(full: Rewritten, graph: Path, items: Sequence[Sample], reduction: Reduction) -> float:
    """Replaces the graph, unless it loses too much.

    Returns:
        The lowest cosine of a vector to that in float32.
    """
    ways = (
        (Session.alone, Session.together) if full.batchable else (Session.alone,)
    )  # int8 is another in a batch
    output = full.embedding.name
    copy_links(graph)
    expected = _vectors(Session(graph, reduction.level).alone(items), output)
    found = []
    with tempfile.TemporaryDirectory(dir=graph.parent) as folder:
        paths = [Path(folder, make.__name__, graph.name) for make in reduction.graphs]
        for path, make in zip(paths, reduction.graphs, strict=True):
            path.parent.mkdir()
            make(graph, path)
            session = Session(path, reduction.level)
            found += [_vectors(answer(session, items), output) for answer in ways]
        lowest = min(lowest_cosine(expected, vectors) for vectors in found)
        if lowest < reduction.limit:
            raise RewriteError(f"its cosine to fp32 is {rounded_down(lowest)}, under {reduction.limit}")
        _replace(graph, paths[0])
    return lowest


def _vectors(answers: Sequence[Answer], output: str) -> NDArray[np.float64]:
    return np.array([answer[output].ravel() for answer in answers], np.float64)


def lowest_cosine(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Of all rows; 0 to a vector of nothing.

    Raises:
        RewriteError: a row is not finite.
    """
    if not np.isfinite(found).all():
        raise RewriteError("its vectors are not finite")
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    return float(((expected * found).sum(axis=1) / np.where(norms, norms, np.inf)).min())


def rounded_down(cosine: float) -> float:
    return math.floor(cosine * 1e5) / 1e5


def _replace(graph: Path, reduced: Path) -> None:
    """Moves a graph, and the file of its weights, over another."""
    for location in external_locations(read(graph)):
        (graph.parent / location).unlink()
    for path in reduced.parent.iterdir():
        path.replace(graph.parent / path.name)

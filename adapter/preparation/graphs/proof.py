"""A rewritten graph is used only after it gave the original's answers, one by one and in a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import GraphOptimizationLevel as Level

from adapter.preparation.config import Tensor
from adapter.preparation.graphs.file import triton_type

SINGLE_TOLERANCE = 1e-5
"""How far a batch of one may be from the original, relative to the output's largest magnitude.

The arithmetic is the same; only the runtime's fusions may fall differently, by some float32 roundings of 6e-8.
Measured on CLIP, SigLIP, XLM-Roberta, SCRFD and PP-OCR graphs: up to 1.2e-6.
"""

BATCH_TOLERANCE = 1e-4
"""The same for a row of a batch, where matrix products may be summed in another order, layer upon layer.

Measured: up to 3e-7, and 3e-2 and more between the outputs of different samples. The user's index asks for 1e-4.
"""

HALF_TOLERANCE = 5e-3
"""Either, for an output in float16, whose roundings are 5e-4."""

CONTRAST = 10
"""Samples differ by this many tolerances in every output: else a row that is another's would not be seen."""

Array = NDArray[Any]
Sample = Mapping[str, Array]
"""One item for each input, without the batch axis."""

Answer = Mapping[str, Array]
"""A graph's outputs by name, for a batch of one."""

_SILENT = 4


class ProofFailed(Exception):
    """The rewritten graph does not give the original's answers, or one of the two cannot be run."""


@dataclass(frozen=True)
class Interface:
    """A graph's tensors as ONNX Runtime knows them. Dims are without the batch axis for a batched graph."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Session:
    """A graph on the CPU.

    Args:
        path: of its file.
        level: how far the runtime may optimise it.

    Raises:
        ProofFailed: it cannot be loaded.
    """

    def __init__(self, path: Path, level: Level = Level.ORT_ENABLE_ALL) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.log_severity_level = _SILENT
        options.enable_cpu_mem_arena = False
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's errors have no base class of their own
            raise ProofFailed(f"ONNX Runtime cannot load {path}: {error}") from error

    def alone(self, samples: Sequence[Sample]) -> list[Answer]:
        """Its answers to samples given one by one.

        Raises:
            ProofFailed: it cannot be run.
        """
        return [self._run([sample]) for sample in samples]

    def together(self, samples: Sequence[Sample]) -> list[Answer]:
        """Its answers to samples given as one batch, each as if it had been given alone.

        Raises:
            ProofFailed: it cannot be run, or gives something else than a row for each.
        """
        answer = self._run(samples)
        for name, array in answer.items():
            if array.shape[:1] != (len(samples),):
                raise ProofFailed(f"{name} has shape {array.shape} for a batch of {len(samples)}")
        return [{name: array[row : row + 1] for name, array in answer.items()} for row in range(len(samples))]

    def interface(self, sample: Sample, answer: Answer, *, batched: bool) -> Interface:
        """Its tensors, of the types of a sample and its answer, and of the answer's sizes where the input has one."""
        skip = 1 if batched else 0
        inputs = {value.name: _known_dims(value.shape) for value in self._session.get_inputs()}
        varies = any(-1 in dims[1:] for dims in inputs.values())
        outputs = {
            value.name: _known_dims(value.shape) if varies else answer[value.name].shape
            for value in self._session.get_outputs()
        }
        return Interface(
            tuple(
                Tensor(name, triton_type(sample[name].dtype), dims[skip:]) for name, dims in inputs.items()
            ),
            tuple(
                Tensor(name, triton_type(answer[name].dtype), dims[skip:]) for name, dims in outputs.items()
            ),
        )

    def _run(self, samples: Sequence[Sample]) -> Answer:
        """The samples as one batch."""
        feeds = {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
        options = onnxruntime.RunOptions()
        options.log_severity_level = _SILENT
        try:
            outputs = self._session.run(None, feeds, options)
        except Exception as error:  # as above
            raise ProofFailed(f"ONNX Runtime cannot run a batch of {len(samples)}: {error}") from error
        return {value.name: array for value, array in zip(self._session.get_outputs(), outputs, strict=True)}


def prove(
    rewritten: Path,
    samples: Sequence[Sample],
    expected: Sequence[Answer],
    *,
    batched: bool,
    tolerance: float = SINGLE_TOLERANCE,
) -> Interface:
    """Compares a rewritten graph with its source, on the CPU.

    Args:
        samples: items for the rewritten graph, all of the same shapes; three or more where it is `batched`.
        expected: the source's answers to the same items.
        batched: whether it is to be proven for batches too.
        tolerance: how far a batch of one may be from the source's answer.

    Raises:
        ProofFailed: which output is off, and by how much.
    """
    session = Session(rewritten)
    singles = session.alone(samples)
    require_same(expected, singles, "alone", tolerance)
    if batched:
        _require_contrast(singles)
        for single, row in zip(singles, session.together(samples), strict=True):
            _compare(single, row, BATCH_TOLERANCE, f"in a batch of {len(samples)}")
    return session.interface(samples[0], singles[0], batched=batched)


def require_same(
    expected: Sequence[Answer], found: Sequence[Answer], where: str, tolerance: float = SINGLE_TOLERANCE
) -> None:
    """Compares what two graphs answered to the same items one by one.

    Raises:
        ProofFailed: which output is off, and by how much.
    """
    for answer, own in zip(expected, found, strict=True):
        _compare(_with_batch_axis(answer, own), own, tolerance, where)


def _with_batch_axis(answer: Answer, like: Answer) -> Answer:
    """The source's answer in the rewritten graph's shapes, where it only lacked the batch axis."""
    if answer.keys() != like.keys():
        raise ProofFailed(f"the outputs are {list(like)}, not {list(answer)}")
    return {
        name: array[np.newaxis] if like[name].shape == (1, *array.shape) else array
        for name, array in answer.items()
    }


def _compare(expected: Answer, found: Answer, tolerance: float, where: str) -> None:
    for name, array in found.items():
        if array.shape != expected[name].shape:
            raise ProofFailed(f"{name} has shape {array.shape}, not {expected[name].shape}, {where}")
        if not np.isfinite(array).all():
            raise ProofFailed(f"{name} is not finite, {where}")
        limit = _limit(array, tolerance)
        off = difference(expected[name], array)
        if not off <= limit:
            raise ProofFailed(f"{name} is off by {off:.1e}, allowed are {limit:.0e}, {where}")


def difference(expected: Array, found: Array) -> float:
    """The largest difference of two arrays of the same shape, relative to the first's largest magnitude."""
    if not expected.size:
        return 0.0
    expected, found = expected.astype(np.float64), found.astype(np.float64)
    worst, largest = float(np.abs(found - expected).max()), float(np.abs(expected).max())
    return worst / largest if largest else float(worst and np.inf)


def _limit(array: Array, tolerance: float) -> float:
    return HALF_TOLERANCE if array.dtype == np.float16 else tolerance


def _require_contrast(singles: Sequence[Answer]) -> None:
    for first, second in combinations(singles, 2):
        for name, array in first.items():
            limit = CONTRAST * _limit(array, BATCH_TOLERANCE)
            if array.shape == second[name].shape and difference(array, second[name]) < limit:
                raise ProofFailed(
                    f"{name} is the same for different samples, so its rows cannot be told apart"
                )


def _known_dims(shape: Sequence[Any]) -> tuple[int, ...]:
    return tuple(dim if isinstance(dim, int) else -1 for dim in shape)

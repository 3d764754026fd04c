"""Inference that is not lost: a request waits for its model, and is sent again when Triton or a process of it broke."""

import asyncio
import logging
from collections.abc import Sequence

import numpy as np

from adapter.errors import BadInput, EngineUnavailable, WrongAnswer
from adapter.metrics import Metrics
from adapter.preparation.door import Prepared
from adapter.protocol import Part
from adapter.registry import Registry
from adapter.triton import (
    Arrays,
    Gone,
    NotLoaded,
    OutOfMemory,
    Rejected,
    StubDead,
    Triton,
    TritonError,
    Unreachable,
)
from adapter.waits import pauses_s

log = logging.getLogger(__name__)

RETRY_S = 0.25
BREAKDOWNS = 8
"""A request during which processes of the engine died so often is likely to be the cause."""


class Engine:
    """Runs public models; the caller sets the deadline, by cancelling."""

    def __init__(self, triton: Triton, registry: Registry, metrics: Metrics | None = None) -> None:
        self._triton = triton
        self._registry = registry
        self._metrics = metrics or Metrics()

    async def infer(self, part: Part, inputs: Arrays) -> Arrays:
        """Runs a part on one batch, however often it takes.

        Raises:
            BadInput: the input can never be answered.
            ModelRefused: the model cannot be had.
            EngineUnavailable: Triton failed on this request in a way that another try would not mend.
            WrongAnswer: what came back is not what the model may say.
        """
        breakdowns, pauses = 0, pauses_s()
        async with self._registry.use(part) as prepared:
            while breakdowns < BREAKDOWNS:
                try:
                    outputs = await self._triton.infer(prepared.model, inputs)
                except Rejected as error:
                    raise BadInput(str(error)) from error
                except Unreachable as error:
                    await self._registry.waits.pause(part, f"Triton does not answer: {error}", RETRY_S)
                except OutOfMemory as error:
                    await self._registry.waits.pause(part, str(error), next(pauses))
                except NotLoaded:
                    prepared = await self._registry.reload(part, prepared)
                    await asyncio.sleep(RETRY_S)
                except StubDead as error:
                    breakdowns += 1
                    prepared = await self._registry.heal(part, prepared, error.model)
                except Gone as error:
                    self._metrics.resent.labels(part.name, part.type).inc()
                    breakdowns += 1
                    log.warning("Triton broke off while it worked on %s (%s); sending it again", part, error)
                except TritonError as error:
                    raise EngineUnavailable(f"Triton failed on {part}: {error}") from error
                else:
                    self._registry.waits.end(part)
                    return _checked(part, prepared, outputs)
        raise EngineUnavailable(f"The engine broke {BREAKDOWNS} times while it worked on this request.")

    async def max_batch_size(self, part: Part) -> int:
        """How many items one request to this part may hold."""
        return (await self._registry.get(part)).max_batch_size


def _checked(part: Part, prepared: Prepared, outputs: Arrays) -> Arrays:
    for name, dims in prepared.outputs.items():
        array = outputs.get(name)
        if array is None or not _fits(array.shape[1:], dims):
            shape = None if array is None else array.shape[1:]
            raise WrongAnswer(f"{part} gave {name} of shape {shape}, not {dims}.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise WrongAnswer(f"{part} gave {name} with a number that is not finite.")
    return outputs


def _fits(shape: Sequence[int], dims: Sequence[int]) -> bool:
    return len(shape) == len(dims) and all(want in (-1, has) for has, want in zip(shape, dims, strict=True))

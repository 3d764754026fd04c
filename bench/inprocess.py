"""The limit: the models of a repository in this process, without Triton and without HTTP.

What runs is what Triton runs: the backends' own code over the same prepared graphs, ensembles followed arrow by arrow,
and the tasks' own way to Immich's answer. What is left out is everything between: no other process, no tensor copied.

A request that is alone gets every core for its graphs. One that comes beside others gets one, and none waits for
another but by the system's own sharing: threads that share a run cost work (pages, four at a time on two cores: 3.0 s
of processor time with one thread, 3.7 s with two). Both ways are kept loaded.
"""

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import aiohttp
import orjson

from adapter.app import TASKS, answer_body
from adapter.compare.client import Failed
from adapter.compare.workload import Request
from adapter.engine import Engine
from adapter.errors import BadInput, ServiceError
from adapter.preparation.manifest import public_name
from adapter.preparation.triton_models.shared import VERSION
from adapter.protocol import Part, Payload, parse_entries
from adapter.triton import Arrays
from bench import pb_utils

CORES = len(os.sched_getaffinity(0))
MOST_AT_A_TIME = 64

Config = Mapping[str, Any]


class InProcess:
    """Answers as a service does.

    Args:
        folder: Triton's model repository.
        configs: of every model that is needed, as Triton tells them.
    """

    name, url = "in-process", ""

    def __init__(self, folder: Path, configs: Mapping[str, Config]) -> None:
        self._folder, self._configs, self._in_flight = folder, configs, 0

    @cached_property
    def _with_all_cores(self) -> "Repository":
        return Repository(self._folder, self._configs, CORES)

    @cached_property
    def _with_one_core(self) -> "Repository":
        return Repository(self._folder, self._configs, 1)

    async def answer(self, request: Request) -> bytes:
        """What the service would answer. Raises `Failed`."""
        ((task, types),) = parse_entries(request.entries).items()
        repository = self._with_one_core if self._in_flight else self._with_all_cores
        self._in_flight += 1
        try:
            payload = Payload(request.image, request.text)
            answer = await TASKS[task](cast("Engine", repository), types, payload)
        except ServiceError as error:
            raise Failed(f"{request.name} in-process: {error}") from error
        finally:
            self._in_flight -= 1
        return orjson.dumps(answer_body({task: answer}), option=orjson.OPT_SERIALIZE_NUMPY)


class Repository:
    """Runs the models of a repository, as `adapter.engine.Engine` does."""

    def __init__(self, folder: Path, configs: Mapping[str, Config], threads: int) -> None:
        sys.modules["triton_python_backend_utils"] = pb_utils
        self._configs = configs
        self._pool = ThreadPoolExecutor(MOST_AT_A_TIME)
        self._steps = {
            name: _load(folder / name, config, threads)
            for name, config in configs.items()
            if config["backend"]
        }

    async def infer(self, part: Part, inputs: Arrays) -> Arrays:
        """The outputs of a part. Raises `BadInput` where a step says that the input cannot be answered."""
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, self._run, public_name(part), inputs
        )

    async def max_batch_size(self, part: Part) -> int:
        return max(1, int(self._configs[public_name(part)]["max_batch_size"]))

    def _run(self, model: str, inputs: Arrays) -> Arrays:
        """The outputs of a model, or of an ensemble."""
        config = self._configs[model]
        if config["backend"]:
            return self._run_step(model, inputs)
        tensors = dict(inputs)
        for step in config["ensemble_scheduling"]["step"]:
            fed = {inner: tensors[outer] for inner, outer in step["input_map"].items()}
            outputs = self._run(step["model_name"], fed)
            tensors |= {outer: outputs[inner] for inner, outer in step["output_map"].items()}
        return {output["name"]: tensors[output["name"]] for output in config["output"]}

    def _run_step(self, model: str, inputs: Arrays) -> Arrays:
        request = pb_utils.InferenceRequest(cancelled=False, **inputs)
        (response,) = self._steps[model].execute([request])
        if error := response.error():
            raise BadInput(error.message())
        return {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}


async def read_configs(triton_url: str, parts: Iterable[Part]) -> dict[str, Config]:
    """What Triton runs for the parts: the configurations of their models, and of those that these are made of."""
    found: dict[str, Config] = {}
    wanted = [public_name(part) for part in parts]
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        while wanted:
            model = wanted.pop()
            async with session.get(f"{triton_url}/v2/models/{model}/config") as response:
                found[model] = await response.json()
            steps = found[model].get("ensemble_scheduling", {}).get("step", ())
            wanted += [step["model_name"] for step in steps]
    return found


def _load(folder: Path, config: Config, threads: int) -> Any:
    parameters = {**config["parameters"]}
    if config["backend"] == "onnxruntime":
        parameters["intra_op_thread_count"] = {"string_value": str(threads)}
    model = importlib.import_module(f"backends.{config['backend']}.model").TritonPythonModel()
    model.initialize(
        {
            "model_config": json.dumps({**config, "parameters": parameters}),
            "model_repository": str(folder),
            "model_version": VERSION,
            "model_instance_kind": "CPU",
            "model_name": config["name"],
        }
    )
    return model

"""The limit: the models of a repository in this process, without Triton and without HTTP.

What runs is what Triton runs: the backends' own code over the same prepared graphs, ensembles followed arrow by arrow,
and the tasks' own way to Immich's answer. What is left out is everything between: no other process, no tensor copied.

A request that is alone gets every core for its graphs. Of several each gets one, and none waits for another but by the
system's own sharing: threads that share a run cost work (pages, four at a time on two cores: 3.0 s of processor time
with one thread, 3.7 s with two). Both ways are kept loaded.
"""

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import aiohttp
import orjson

from adapter.compare.client import Failed
from adapter.compare.load import Figures, Hook, Load, nothing
from adapter.compare.workload import Kind, Request, Workload
from adapter.engine import Engine
from adapter.errors import BadInput, ServiceError
from adapter.preparation.manifest import public_name
from adapter.preparation.triton_models.shared import VERSION
from adapter.protocol import Part, Payload, TaskName, parse_entries
from adapter.tasks import Task, clip, faces, ocr
from adapter.triton import Arrays
from bench import pb_utils

CORES = len(os.sched_getaffinity(0))
MOST_AT_A_TIME = 64
TASKS: Mapping[TaskName, Task] = {
    TaskName.CLIP: clip.answer,
    TaskName.FACES: faces.answer,
    TaskName.OCR: ocr.answer,
}

Config = Mapping[str, Any]


class InProcess(Load):
    """A load on the models themselves.

    Args:
        folder: Triton's model repository.
        configs: of every model that is needed, as Triton tells them.
    """

    def __init__(self, folder: Path, configs: Mapping[str, Config], workload: Workload) -> None:
        super().__init__(self._answer, workload)
        self._folder, self._configs = folder, configs
        self._repositories: dict[int, Repository] = {}
        self._pool = ThreadPoolExecutor(MOST_AT_A_TIME)
        self._expect(1)

    async def run(
        self, loops: Mapping[Kind, int], duration_s: float, opened: Hook = nothing, closed: Hook = nothing
    ) -> dict[Kind, Figures]:
        self._expect(sum(loops.values()))
        return await super().run(loops, duration_s, opened, closed)

    async def infer(self, part: Part, inputs: Arrays) -> Arrays:
        """As `adapter.engine.Engine.infer`."""
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._pool, self._repository.run, public_name(part), inputs)

    async def max_batch_size(self, part: Part) -> int:
        """As `adapter.engine.Engine.max_batch_size`."""
        return max(1, int(self._configs[public_name(part)]["max_batch_size"]))

    def _expect(self, in_flight: int) -> None:
        """Loads what is best for so many requests at a time, if it is not loaded yet."""
        threads = CORES if in_flight == 1 else 1
        if threads not in self._repositories:
            self._repositories[threads] = Repository(self._folder, self._configs, threads)
        self._repository = self._repositories[threads]

    async def _answer(self, request: Request) -> bytes:
        """What the service would answer."""
        ((task, types),) = parse_entries(request.entries).items()
        try:
            answer = await TASKS[task](cast("Engine", self), types, Payload(request.image, request.text))
        except ServiceError as error:
            raise Failed(f"{request.name} in-process: {error}") from error
        body = {str(task): answer.value}
        if size := answer.image_size:
            body |= {"imageHeight": size.height, "imageWidth": size.width}
        return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


class Repository:
    """Runs the models of a repository. May be used by several threads."""

    def __init__(self, folder: Path, configs: Mapping[str, Config], threads: int) -> None:
        sys.modules["triton_python_backend_utils"] = pb_utils
        self._configs = configs
        self._steps = {
            name: _load(folder / name, _with_threads(config, threads))
            for name, config in configs.items()
            if config["backend"]
        }

    def run(self, model: str, inputs: Arrays) -> Arrays:
        """The outputs of a model, or of an ensemble.

        Raises:
            BadInput: a step says that the input cannot be answered.
        """
        config = self._configs[model]
        if config["backend"]:
            return self._run_step(model, inputs)
        tensors = dict(inputs)
        for step in config["ensemble_scheduling"]["step"]:
            fed = {inner: tensors[outer] for inner, outer in step["input_map"].items()}
            outputs = self.run(step["model_name"], fed)
            tensors |= {outer: outputs[inner] for inner, outer in step["output_map"].items()}
        return {output["name"]: tensors[output["name"]] for output in config["output"]}

    def _run_step(self, model: str, inputs: Arrays) -> Arrays:
        (response,) = self._steps[model].execute([pb_utils.InferenceRequest(cancelled=False, **inputs)])
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


def _with_threads(config: Config, threads: int) -> Config:
    if config["backend"] != "onnxruntime":
        return config
    chosen = {"intra_op_thread_count": {"string_value": str(threads)}}
    return {**config, "parameters": {**config["parameters"], **chosen}}


def _load(folder: Path, config: Config) -> Any:
    model = importlib.import_module(f"backends.{config['backend']}.model").TritonPythonModel()
    model.initialize(
        {
            "model_config": json.dumps(config),
            "model_repository": str(folder),
            "model_version": VERSION,
            "model_instance_kind": "CPU",
            "model_name": config["name"],
        }
    )
    return model

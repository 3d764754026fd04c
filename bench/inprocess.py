"""The limit: the models of a repository in one Python process, without Triton and without HTTP.

What runs is what Triton runs: the backends' own code over the same prepared graphs, ensembles followed arrow by arrow,
and the tasks' own way to Immich's answer. What is left out is everything between: no other process, no tensor copied.

A request that is alone gets every core for its graphs. Of several each gets one, and none waits for another but by the
system's own sharing: threads that share a run cost work (pages, four at a time on two cores: 3.0 s of processor time
with one thread, 3.7 s with two). Both ways are kept loaded, so the memory of this process says nothing.

usage: python -m bench.inprocess   a `Job` as a line of JSON on stdin, then an order a line; see `_obey`
"""

import asyncio
import importlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import orjson
import uvloop

from adapter.engine import Engine
from adapter.errors import BadInput, SetupError
from adapter.preparation.manifest import public_name
from adapter.preparation.triton_models.shared import VERSION
from adapter.protocol import Part, Payload, TaskName, parse_entries
from adapter.tasks import Task, clip, faces, ocr
from adapter.triton import Arrays
from bench import pb_utils, workloads
from bench.load import Load, Timing
from bench.workloads import Kind, Models, Request

CORES = len(os.sched_getaffinity(0))
MOST_AT_A_TIME = 64
TASKS: Mapping[TaskName, Task] = {
    TaskName.CLIP: clip.answer,
    TaskName.FACES: faces.answer,
    TaskName.OCR: ocr.answer,
}

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """What the process is to hold.

    Attributes:
        repository: Triton's model repository.
        configs: model → its configuration, as Triton's `GET /v2/models/<model>/config` gives it.
        models, kinds, pictures: of the workload.
    """

    repository: str
    configs: Mapping[str, Config]
    models: Models
    kinds: tuple[str, ...]
    pictures: str | None


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


class InProcess:
    """Asked as `adapter.engine.Engine` is."""

    def __init__(self, job: Job) -> None:
        self._folder, self._configs = Path(job.repository), job.configs
        self._repositories: dict[int, Repository] = {}
        self._pool = ThreadPoolExecutor(MOST_AT_A_TIME)
        self.expect(1)

    def expect(self, in_flight: int) -> None:
        """Loads what is best for so many requests at a time, if it is not loaded yet."""
        threads = CORES if in_flight == 1 else 1
        if threads not in self._repositories:
            self._repositories[threads] = Repository(self._folder, self._configs, threads)
        self._repository = self._repositories[threads]

    async def infer(self, part: Part, inputs: Arrays) -> Arrays:
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._pool, self._repository.run, public_name(part), inputs)

    async def max_batch_size(self, part: Part) -> int:
        return max(1, int(self._configs[public_name(part)]["max_batch_size"]))

    async def answer(self, request: Request) -> bytes:
        """What the service would answer."""
        ((task, types),) = parse_entries(request.entries).items()
        payload = Payload(request.image, request.text)
        answer = await TASKS[task](cast("Engine", self), types, payload)
        body = {str(task): answer.value}
        if size := answer.image_size:
            body |= {"imageHeight": size.height, "imageWidth": size.width}
        return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


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


async def _obey(engine: InProcess, load: Load, order: Mapping[str, Any]) -> dict[str, Any]:
    """`{"learn": true}` → answers by request; `{"workers": …, "timing": …}` → what the requests of each kind saw."""
    if order.get("learn"):
        return {"answers": {name: body.decode() for name, body in (await load.learn()).items()}}
    engine.expect(sum(order["workers"].values()))
    kinds = await load.run(
        order["workers"], Timing(**order["timing"]), lambda: _say("opened"), lambda: _say("closed")
    )
    return {"kinds": {kind: asdict(latency) for kind, latency in kinds.items()}}


async def _say(event: str) -> None:
    _write({"event": event})


def _write(message: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Does what stdin says, until it ends."""
    job = json.loads(sys.stdin.readline())
    job["models"] = Models(**job["models"])
    engine = InProcess(Job(**job))
    pictures = Path(job["pictures"]) if job["pictures"] else None
    load = Load(
        engine.answer, workloads.build(job["models"], [Kind(kind) for kind in job["kinds"]], pictures)
    )
    _write({"event": "ready"})
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            _write(await _obey(engine, load, json.loads(line)))
        except SetupError as error:
            _write({"error": str(error)})


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    uvloop.run(main())

"""The environment as a whole: what of it Triton's processes are given, and which variables do nothing here."""

import os
import shutil
import socket
import sys
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path

SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "IMMICH_TRITON_REPOSITORY_KEY", "IMMICH_TRITON_TOKEN")
"""Variables that are not handed on, and whose values are not repeated."""

WITHOUT_EFFECT = {
    f"MACHINE_LEARNING_{name}": reason
    for reason, names in {
        "one adapter process serves all; Triton does the work in processes of its own": "WORKERS",
        "a dead process is started again at once": "WORKER_TIMEOUT",
        "Triton schedules the work": "REQUEST_THREADS",
        "lines of all pictures share runs; a line's text is the same in any": "MAX_BATCH_SIZE__OCR",
        "each model has the memory arena that was measured to be best for it": "MODEL_ARENA",
        "OpenVINO's precision is IMMICH_TRITON_PRECISION here": "OPENVINO_PRECISION",
        "such hardware is not supported": "ROCM_PRECISION",
        "ARM NN is not supported": "ANN ANN_FP16_TURBO ANN_TUNING_LEVEL",
        "RKNN is not supported": "RKNN RKNN_THREADS",
        "the GPU is chosen by who starts Triton: docker-compose.yml hands DEVICE_IDS on": "DEVICE_IDS",
        "it is for Immich's server, not for machine learning": "URL PING_TIMEOUT",
    }.items()
    for name in names.split()
}
"""Variables of Immich's container that users have in their files and that do nothing here, and why."""
_PREFIXES = ("MACHINE_LEARNING_", "IMMICH_TRITON_")
IN_IMAGE = "/opt/venv"
"""Where docker/Dockerfile puts the packages."""


def without_effect(known: Collection[str]) -> Iterator[str]:
    """A sentence on each variable that is set here and does nothing.

    Args:
        known: those that do something.
    """
    for name in sorted(os.environ):
        if reason := WITHOUT_EFFECT.get(name):
            yield f"{name} has no effect here: {reason}"
        elif name.startswith(_PREFIXES) and name not in known:
            near = get_close_matches(name, known, 1, 0.0)
            yield f"{name} is no variable of this service; is {near[0]} meant?"


def child_environment() -> dict[str, str]:
    """The environment for Triton's processes: this one, without secrets."""
    return {name: value for name, value in os.environ.items() if name not in SECRETS}


def command() -> str:
    """How the command line is called by whoever reads this: in a checkout, or from outside of a container of ours."""
    name = "immich-triton"
    if sys.prefix == IN_IMAGE:
        return f"docker exec -it {socket.gethostname()} {name}"
    program = Path(sys.executable).with_name(name)
    return name if shutil.which(name) else os.path.relpath(program)

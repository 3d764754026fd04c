"""The environment as a whole: what of it Triton's processes are given, and which of Immich's variables do nothing."""

import os

SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "IMMICH_TRITON_REPOSITORY_KEY", "IMMICH_TRITON_TOKEN")
"""Variables that are not handed on, and whose values are not repeated."""

WITHOUT_EFFECT = {
    "MACHINE_LEARNING_WORKERS": "one adapter process serves all; Triton does the work in processes of its own",
    "MACHINE_LEARNING_WORKER_TIMEOUT": "a dead process is started again at once",
    "MACHINE_LEARNING_REQUEST_THREADS": "Triton schedules the work",
    "MACHINE_LEARNING_ANN": "ARM NN is not supported",
    "MACHINE_LEARNING_RKNN": "RKNN is not supported",
    "DEVICE_IDS": "the GPU is chosen by who starts Triton: docker-compose.yml hands the variable on",
    "MACHINE_LEARNING_DEVICE_IDS": "the GPU is chosen by who starts Triton: docker-compose.yml hands the variable on",
}
"""Variables of Immich's container that users have in their files and that do nothing here, and why."""


def without_effect() -> dict[str, str]:
    """Variables of Immich's container that are set here and do nothing, with the reason."""
    return {name: reason for name, reason in WITHOUT_EFFECT.items() if name in os.environ}


def child_environment() -> dict[str, str]:
    """The environment for Triton's processes: this one, without secrets."""
    return {name: value for name, value in os.environ.items() if name not in SECRETS}

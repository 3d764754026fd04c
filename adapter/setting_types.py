"""The types of settings: how the text of a variable becomes a value, and what it may be."""

import re
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyNetwork, SecretStr
from pydantic_settings import NoDecode


class ClipResize(StrEnum):
    """How pictures are resized for CLIP."""

    CONFIG = "config"
    SHORTEST = "shortest"


class Device(StrEnum):
    """What models run on."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"
    INTEL = "intel"

    @property
    def is_gpu(self) -> bool:
        """Whether every shape has its price there, so that few are seen."""
        return self in (Device.GPU, Device.INTEL)


class Precision(StrEnum):
    """What graphs compute in."""

    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"


class LogFormat(StrEnum):
    """How a line of the log looks."""

    TEXT = "text"
    JSON = "json"


class EngineChoice(StrEnum):
    """Which engine computes graphs on a CPU."""

    AUTO = "auto"
    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


def _split(value: object) -> object:
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


def address_and_port(value: object) -> object:
    if not value or not isinstance(value, str):
        return value or None
    host, colon, port = value.rpartition(":")
    if not colon or not host:
        raise ValueError("it looks like 127.0.0.1:9103")
    return host.strip("[]"), port


def http_url(text: str) -> str:
    """A URL of a service, with the scheme that most leave out and without a slash at its end."""
    url = text.strip() if "://" in text else f"http://{text.strip()}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError("is no URL of a service; one looks like http://nas:3003")
    return url.rstrip("/")


def _log_level(name: str) -> str:
    if name.lower() not in LOG_LEVELS:
        raise ValueError(f"there are {', '.join(LOG_LEVELS)}")
    return name.lower()


def _url_safe(token: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[A-Za-z0-9_-]{16,}", token.get_secret_value()):
        raise ValueError(
            "a token has at least 16 letters, digits, - and _; such as `openssl rand -hex 24` gives"
        )
    return token


LOG_LEVELS = ("debug", "info", "warning", "error", "critical", "verbose", "log", "warn", "fatal")
"""Python's names, and Immich's."""

LogLevel = Annotated[str, AfterValidator(_log_level)]
Url = Annotated[str, AfterValidator(http_url)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_split)]
Token = Annotated[SecretStr, AfterValidator(_url_safe)]
Host = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(ge=0, le=65535)]

"""Every setting of the service, from environment variables: Immich's own names where Immich has one."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from adapter.environment import SECRETS
from adapter.errors import SetupError
from adapter.protocol import PARTS, Part, canonical
from adapter.setting_types import (
    ClipResize,
    Device,
    EngineChoice,
    Host,
    LogFormat,
    LogLevel,
    Names,
    Networks,
    Port,
    Precision,
    Token,
    Url,
    address_and_port,
)

GPU_MEMORY_MIB = 6144
ORGANIZATION = "immich-app"


_CONFIG = SettingsConfigDict(
    frozen=True,
    env_ignore_empty=True,  # `VARIABLE=` in a file of variables means that it is not set
    populate_by_name=True,
    extra="ignore",
    use_attribute_docstrings=True,
    hide_input_in_errors=True,
)


class PreparationSettings(BaseSettings):
    """What decides how models are prepared. Each is prepared anew when one of these has changed."""

    model_config = _CONFIG

    device: Device = Field(Device.AUTO, alias="IMMICH_TRITON_DEVICE")
    """`gpu`, `cpu`, or `auto`: an NVIDIA GPU if a graph runs on it when the service starts. With IMMICH_TRITON_URL, \
`auto` is the CPU. `intel`: Intel graphics by OpenVINO, or the CPU where none can be used; nobody has tried it yet."""

    engine: EngineChoice = Field(EngineChoice.AUTO, alias="IMMICH_TRITON_ENGINE")
    """`auto`, on a CPU: where OpenVINO is installed, each encoder is timed when it is prepared, and computed by \
OpenVINO if that is clearly faster than ONNX Runtime and gives the same numbers. `onnxruntime` or `openvino`: always \
that one; so where several kinds of processors share a state folder."""

    precision: Precision = Field(Precision.FP32, alias="IMMICH_TRITON_PRECISION")
    """`fp32`: as published; on a GPU, text is read in TF32, with the same characters. `tf32`, on a GPU: all \
in TF32, as Immich's own container does it. `fp16`, on a GPU: CLIP and face vectors in half precision. \
`bf16`, on a processor with AMX or AVX512_BF16: CLIP and face vectors in bfloat16 by OpenVINO, three to five times as \
fast, of every model whose sample vectors keep a cosine of 0.9999 (others' were 0.9998 and more). \
`int8`, on a CPU: CLIP's transformers in 8-bit integers, 1.5 times as fast, or two to three times where the CPU has \
VNNI. Vectors move: `immich-triton models prepare` tells by how much, and a model that moves too far is refused. \
After a change the search index (with `fp16` and `bf16` the faces too) must be rebuilt in Immich, or old and new \
vectors mix."""

    clip_resize: ClipResize = Field(ClipResize.CONFIG, alias="IMMICH_TRITON_CLIP_RESIZE")
    """`config`: as the model's file says, as Immich does since 3.3. `shortest`: by the short side and bicubic, \
whatever the file says, as Immich 3.2 and older did. They differ for SigLIP models: to keep a search index of those \
that was made by 3.2 or older, set `shortest`; or let Immich make it anew."""

    max_pixels: int = Field(50_000_000, alias="IMMICH_TRITON_MAX_PIXELS", gt=0)
    """Largest picture, width times height; larger ones are answered with 400 before they are decoded."""

    ocr_max_resolution: int = Field(
        736, alias="MACHINE_LEARNING_PRELOAD__OCR__MAX_RESOLUTION", ge=32, le=8192
    )
    """The resolution that Immich asks OCR for: on a GPU the text detector is warm for it. Others are answered too."""

    max_batch_size_faces: int = Field(16, alias="MACHINE_LEARNING_MAX_BATCH_SIZE__FACIAL_RECOGNITION", gt=0)
    """Most faces, of one picture or of several, that are recognised in one run; on a CPU 8 are the most."""

    intra_op_threads: int = Field(0, alias="MACHINE_LEARNING_MODEL_INTRA_OP_THREADS", ge=0)
    """Threads of one model's process on a CPU; 0 is one a core."""

    inter_op_threads: int = Field(0, alias="MACHINE_LEARNING_MODEL_INTER_OP_THREADS", ge=0)
    """Threads between the operators of one model's run on a CPU; 0 is sequential."""

    step_processes: int = Field(0, alias="IMMICH_TRITON_STEP_PROCESSES", ge=0)
    """Processes for each step that decodes, resizes or cuts pictures: with several, each takes one picture at a time. \
0 is what cores and memory carry."""

    gpu_instances: int = Field(1, alias="IMMICH_TRITON_GPU_INSTANCES", gt=0)
    """Processes of each graph on the GPU; two may overlap copying and computing, and take twice the memory."""

    gpu_memory_mib: int = Field(GPU_MEMORY_MIB, alias="IMMICH_TRITON_GPU_MEMORY_MIB", ge=1024)
    """Memory of the GPU, in MiB, that all models together may take. A model for which too little is left is not \
loaded; more makes room for more shapes at a time."""

    @field_validator("precision")
    @classmethod
    def _fits_the_device(cls, precision: Precision, info: ValidationInfo) -> Precision:
        device, engine = info.data.get("device"), info.data.get("engine")
        if precision is Precision.FP16 and device is Device.CPU:
            raise ValueError("fp16 needs a GPU; a CPU computes it in fp32, only slower")
        if precision is Precision.TF32 and device in (Device.CPU, Device.INTEL):
            raise ValueError("tf32 needs an NVIDIA GPU; others compute it in fp32")
        if precision in (Precision.INT8, Precision.BF16) and device in (Device.GPU, Device.INTEL):
            raise ValueError(f"{precision} is for IMMICH_TRITON_DEVICE=cpu; for a GPU there is fp16")
        if precision is Precision.BF16 and engine is EngineChoice.ONNXRUNTIME:
            raise ValueError(
                "bf16 is computed by OpenVINO, and IMMICH_TRITON_ENGINE=onnxruntime rules it out"
            )
        return precision


class Settings(BaseSettings):
    """All settings; made once by the command line and handed on."""

    model_config = _CONFIG

    host: str = Field("[::]", alias="IMMICH_HOST")
    """Address to listen on. `[::]` is every interface, IPv4 too."""

    port: int = Field(3003, alias="IMMICH_PORT", ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""

    token: Token | None = Field(None, alias="IMMICH_TRITON_TOKEN")
    """A secret path: with it, only `http://host:3003/<token>/` is answered. At least 16 URL-safe characters."""

    allowed_networks: Networks = Field((), alias="IMMICH_TRITON_ALLOWED_NETWORKS")
    """Networks that may ask, such as `192.168.1.0/24, fd00::/8`; others are answered with 403. \
Default: everyone. This host's own `/ping` is always answered."""

    trusted_proxies: Networks = Field((), alias="IMMICH_TRITON_TRUSTED_PROXIES")
    """Networks of proxies whose `X-Forwarded-For` says who asks; anyone else's is ignored."""

    tls_certificate: Path | None = Field(None, alias="IMMICH_TRITON_TLS_CERTIFICATE")
    """File with the certificate (and its chain), PEM: https instead of http."""

    tls_key: Path | None = Field(None, alias="IMMICH_TRITON_TLS_KEY")
    """File with its private key, PEM, without a password."""

    metrics_listen: Annotated[tuple[Host, Port] | None, NoDecode, BeforeValidator(address_and_port)] = Field(
        None, alias="IMMICH_TRITON_METRICS_LISTEN"
    )
    """`address:port` on which Prometheus finds `/metrics`, such as `127.0.0.1:9103`. Default: nowhere; \
the main port never has it."""

    log_level: LogLevel = Field("info", alias="IMMICH_LOG_LEVEL")
    """`debug` (with Triton's own log), `info`, `warning`, `error` or `critical`; \
Immich's `verbose`, `log` and `fatal` too."""

    log_format: LogFormat | None = Field(None, alias="IMMICH_LOG_FORMAT")
    """`text` for people, or `json` for machines: an object a line. Default: `text` on a terminal, `json` elsewhere, \
as in Docker."""

    no_color: str = Field("", alias="NO_COLOR")
    """Anything: no colours on a terminal."""

    cache_folder: Path | None = Field(None, alias="MACHINE_LEARNING_CACHE_FOLDER")
    """Folder of the models as downloaded, in Immich's own layout. Default: `models` in the state folder."""

    model_revision: str | None = Field(
        None, alias="MACHINE_LEARNING_MODEL_REVISION", pattern=r"^(main|v[1-9][0-9]*)$"
    )
    """`main`, or `v2`: which export of the models is fetched and served. Default: what of a model is in the cache \
folder, `main` before `v2`; and `main` of one that is not."""

    model_organization: str = Field(
        ORGANIZATION, alias="MACHINE_LEARNING_MODEL_ORGANIZATION", pattern=r"^[A-Za-z0-9_-]+$"
    )
    """Whose repositories on the hub models are fetched from."""

    state_folder: Path = Field(Path("~/.cache/immich-triton"), alias="IMMICH_TRITON_STATE_FOLDER")
    """Folder for what is made here: prepared models (Triton's model repository) and the demo models."""

    triton_url: Url | None = Field(None, alias="IMMICH_TRITON_URL")
    """A Triton that is running already, such as `http://triton:8000`. Default: start the embedded one."""

    repository_key: str = Field("", alias="IMMICH_TRITON_REPOSITORY_KEY")
    """What the Triton of IMMICH_TRITON_URL wants of whoever loads models, in the header `immich-triton-key`."""

    repository_key_file: Path | None = Field(None, alias="IMMICH_TRITON_REPOSITORY_KEY_FILE")
    """A file that holds that key. Goes before the variable."""

    triton_port: int = Field(0, alias="IMMICH_TRITON_PORT", ge=0, le=65535)
    """Loopback port of the embedded Triton; 0 takes a free one."""

    triton_metrics_port: int = Field(0, alias="IMMICH_TRITON_METRICS_PORT", ge=0, le=65535)
    """Loopback port of the embedded Triton's own metrics; 0: none."""

    preload_clip_visual: Names = Field((), alias="MACHINE_LEARNING_PRELOAD__CLIP__VISUAL")
    """CLIP models whose picture part is loaded at start; names separated by commas."""

    preload_clip_textual: Names = Field((), alias="MACHINE_LEARNING_PRELOAD__CLIP__TEXTUAL")
    """CLIP models whose text part is loaded at start; names separated by commas."""

    preload_face_detection: Names = Field((), alias="MACHINE_LEARNING_PRELOAD__FACIAL_RECOGNITION__DETECTION")
    """Face models whose detector is loaded at start."""

    preload_face_recognition: Names = Field(
        (), alias="MACHINE_LEARNING_PRELOAD__FACIAL_RECOGNITION__RECOGNITION"
    )
    """Face models whose recogniser is loaded at start."""

    preload_ocr_detection: Names = Field((), alias="MACHINE_LEARNING_PRELOAD__OCR__DETECTION")
    """OCR models whose detector is loaded at start."""

    preload_ocr_recognition: Names = Field((), alias="MACHINE_LEARNING_PRELOAD__OCR__RECOGNITION")
    """OCR models whose recogniser is loaded at start."""

    model_ttl_s: int = Field(300, alias="MACHINE_LEARNING_MODEL_TTL")
    """Seconds after its last use that a model is unloaded; 0 or less: never. Preloaded models stay."""

    model_ttl_poll_s: float = Field(10, alias="MACHINE_LEARNING_MODEL_TTL_POLL_S", gt=0)
    """Seconds between two looks for models that are idle."""

    max_body_bytes: int = Field(32 * 2**20, alias="IMMICH_TRITON_MAX_BODY_BYTES", gt=0)
    """Largest request body; larger ones are answered with 413."""

    held_bytes: int = Field(256 * 2**20, alias="IMMICH_TRITON_HELD_BYTES", gt=0)
    """Total of the bodies held in memory at once; what comes beyond that waits unread."""

    deadline_s: float = Field(280.0, alias="IMMICH_TRITON_DEADLINE_S", gt=0)
    """Seconds after which a request is answered in any case. Immich itself gives up after 300."""

    stop_notice_s: float = Field(1.0, alias="IMMICH_TRITON_STOP_NOTICE_S", ge=0)
    """Seconds after the signal to stop in which requests are still taken while `/ping` says 503 and every answer \
closes its connection: time for a front's health checks to see it. Then the port is closed."""

    stop_grace_s: float = Field(30.0, alias="IMMICH_TRITON_STOP_GRACE_S", ge=0)
    """Seconds that running requests have, once the port is closed, before they are answered with 503. Whoever stops \
the service must wait for notice and grace and ten seconds more: docker-compose.yml does, `docker stop` \
without it waits 10 s. A second signal stops at once."""

    keepalive_s: int = Field(75, alias="MACHINE_LEARNING_HTTP_KEEPALIVE_TIMEOUT_S", gt=0)
    """Seconds that an idle connection is kept."""

    # No variable can be called so: its own fields are variables.
    preparation: PreparationSettings = Field({}, alias="preparation=")  # type: ignore[assignment]
    """How models are prepared."""

    @property
    def preload(self) -> tuple[Part, ...]:
        """What is loaded at start, and stays."""
        return tuple(
            canonical(Part(task, type_name, name))
            for (task, type_name), row in PARTS.items()
            for name in getattr(self, row.preload)
        )

    @property
    def models(self) -> Path:
        """The folder of the models as downloaded."""
        return (self.cache_folder or self.state / "models").expanduser().absolute()

    @property
    def state(self) -> Path:
        return self.state_folder.expanduser().absolute()

    @property
    def key(self) -> str:
        """The key of Triton's repository, or nothing.

        Raises:
            SetupError: its file cannot be read.
        """
        if self.repository_key_file is None:
            return self.repository_key
        try:
            return self.repository_key_file.read_text().strip()
        except OSError as error:
            raise SetupError(f"IMMICH_TRITON_REPOSITORY_KEY_FILE cannot be read: {error}") from error

    @property
    def repository(self) -> Path:
        """Triton's model repository."""
        return self.state / "model_repository"

    @property
    def demo_models(self) -> Path:
        return self.state / "demo"


VARIABLES = frozenset(
    str(field.alias)
    for fields in (Settings.model_fields, PreparationSettings.model_fields)
    for field in fields.values()
)


def load(**overrides: object) -> Settings:
    """The settings of the environment, with those of the command line over them.

    Raises:
        SetupError: a variable has a value that it cannot have; all such are named.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        faults = [f"{_variable(fault)}: {_reason(fault)}{_input(fault)}" for fault in error.errors()]
        raise SetupError("A setting is wrong. " + "; ".join(faults)) from error


def _variable(fault: ErrorDetails) -> str:
    """By its name in the environment, also where the command line has set it."""
    name = next(str(name) for name in fault["loc"] if name != "preparation")
    field = Settings.model_fields.get(name)
    return str(field.alias) if field else name


def _reason(fault: ErrorDetails) -> str:
    return fault["msg"].removeprefix("Value error, ").removeprefix("Input ")


def _input(fault: ErrorDetails) -> str:
    return "" if _variable(fault) in SECRETS else f" (is {fault['input']!r})"

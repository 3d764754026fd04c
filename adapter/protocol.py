"""Immich's words: the parts that its models have, and what a request's `entries` may ask of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from adapter.errors import BadInput, InvalidEntries


class TaskName(StrEnum):
    CLIP = "clip"
    FACES = "facial-recognition"
    OCR = "ocr"


class TypeName(StrEnum):
    """The parts of a task, as the keys of a request and the folders of the cache call them."""

    VISUAL = "visual"
    TEXTUAL = "textual"
    DETECTION = "detection"
    RECOGNITION = "recognition"


class Options(BaseModel):
    """Options are generous, as Immich is: unknown ones are ignored, and a number may be a string."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class TextualOptions(Options):
    language: str | None = None


LARGEST = 3.4e38
"""Of float32, in which Triton is given scores."""
Score = Annotated[float, Field(alias="minScore", allow_inf_nan=False, ge=-LARGEST, le=LARGEST)]


class FaceDetectionOptions(Options):
    min_score: Score = 0.7


class OcrDetectionOptions(Options):
    min_score: Score = 0.5
    max_resolution: int = Field(736, alias="maxResolution", ge=32, le=8192)


class OcrRecognitionOptions(Options):
    min_score: Score = 0.9


GRAPH = "model.onnx"
MAIN, V2 = "main", "v2"
"""Revisions that models are published in: the same networks, exported another time."""


@dataclass(frozen=True)
class PartRow:
    """What sets a part apart from the others, but for its preparation: `adapter/preparation/triton_models/`.

    Attributes:
        options: what a request may ask of it.
        files: without which it is not in the cache, below the model's folder. A graph's weights may come on top.
        preload: the setting that names the models of which it is loaded at start.
    """

    options: type[Options]
    files: tuple[str, ...]
    preload: str


PARTS: Mapping[tuple[TaskName, TypeName], PartRow] = {
    (TaskName.CLIP, TypeName.VISUAL): PartRow(
        Options, (f"visual/{GRAPH}", "visual/preprocess_cfg.json"), "preload_clip_visual"
    ),
    (TaskName.CLIP, TypeName.TEXTUAL): PartRow(
        TextualOptions,
        ("config.json", f"textual/{GRAPH}", "textual/tokenizer.json", "textual/tokenizer_config.json"),
        "preload_clip_textual",
    ),
    (TaskName.FACES, TypeName.DETECTION): PartRow(
        FaceDetectionOptions, (f"detection/{GRAPH}",), "preload_face_detection"
    ),
    (TaskName.FACES, TypeName.RECOGNITION): PartRow(
        Options, (f"recognition/{GRAPH}",), "preload_face_recognition"
    ),
    (TaskName.OCR, TypeName.DETECTION): PartRow(
        OcrDetectionOptions, (f"detection/{GRAPH}",), "preload_ocr_detection"
    ),
    (TaskName.OCR, TypeName.RECOGNITION): PartRow(
        OcrRecognitionOptions, (f"recognition/{GRAPH}",), "preload_ocr_recognition"
    ),
}

_SHARED = {
    **{
        f"{language}__PP-OCRv5_mobile": "PP-OCRv5_mobile"
        for language in "CH EL EN ESLAV KOREAN LATIN TH".split()
    },
    "CH__PP-OCRv5_server": "PP-OCRv5_server",
}
"""OCR models of several languages have one detector; and Chinese is the plain one."""


def types_of(task: TaskName) -> list[TypeName]:
    """The parts that a task has."""
    return [type_name for of, type_name in PARTS if of is task]


_NO_WEIGHTS = {".onnx", ".armnn", ".rknn", ".lock"}
_UNSAFE = str.maketrans({":": "_", "\\": "_", "/": "_", ".": None})


LONGEST_NAME = 128
"""In bytes: files and folders are named after it."""


def clean_name(name: str) -> str:
    """The model's name as Immich stores it: the last segment of a path, without characters of paths."""
    cleaned = name.split("/")[-1].translate(_UNSAFE).strip()
    if not cleaned or not cleaned.isprintable():
        raise ValueError("a model's name is empty")
    if len(cleaned.encode()) > LONGEST_NAME:
        raise ValueError("a model's name is too long")
    return cleaned


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    name: Annotated[str, AfterValidator(clean_name)] = Field(alias="modelName")
    options: dict[str, Any] = {}


_ENTRIES = TypeAdapter(dict[str, dict[str, _Entry]])


@dataclass(frozen=True)
class Part:
    """One part of a model: what is fetched, prepared and loaded as one."""

    task: TaskName
    type: TypeName
    name: str

    @property
    def row(self) -> PartRow:
        return PARTS[self.task, self.type]

    def folder(self, revision: str = MAIN) -> str:
        """Where Immich keeps the model in a cache folder."""
        return f"{self.task}/{self.name}" + ("" if revision == MAIN else f"/{revision}")

    def owns(self, path: str) -> bool:
        """Whether a file below that folder is one that the part is made of: all beside the graph may hold weights.

        Graphs in other formats are not, and neither is what Immich's own container makes of a model.
        """
        inside, _, name = path.rpartition("/")
        if inside != self.type:
            return path in self.row.files
        return name == GRAPH or PurePosixPath(name).suffix not in _NO_WEIGHTS

    def __str__(self) -> str:
        return f"{self.name} ({self.task} {self.type})"


@dataclass(frozen=True)
class Entry:
    part: Part
    options: Any  # of the class in the part's row


@dataclass(frozen=True)
class Payload:
    """What is to be looked at: an encoded picture or a text, never both."""

    image: bytes | None = None
    text: str | None = None


Entries = Mapping[TaskName, Mapping[TypeName, Entry]]


def parse_entries(raw: str) -> Entries:
    """The tasks asked for, each with its types.

    Raises:
        InvalidEntries: no JSON, a wrong shape, nothing asked for, or a task or type that does not exist.
        BadInput: recognition is asked for without the detection that it works on.
    """
    try:
        # orjson refuses the NaN and Infinity that Python's own parser lets through.
        parsed = _ENTRIES.validate_python(orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        raise InvalidEntries("Invalid request format.") from error
    except ValidationError as error:
        raise InvalidEntries(_describe(error)) from error
    entries = {_task(task): _parse_types(_task(task), types) for task, types in parsed.items() if types}
    if not entries:
        raise InvalidEntries("No model task requested.")
    return entries


def check_payload(entries: Entries, payload: Payload) -> None:
    """Raises BadInput where the payload is not what the tasks work on."""
    for types in entries.values():
        for type_name in types:
            if type_name is TypeName.TEXTUAL and payload.text is None:
                raise BadInput("A text task was asked for, but an image was sent.")
            if type_name is not TypeName.TEXTUAL and payload.image is None:
                raise BadInput("An image task was asked for, but a text was sent.")


def _parse_types(task: TaskName, types: Mapping[str, _Entry]) -> Mapping[TypeName, Entry]:
    entries = {_type(task, name): _entry(task, _type(task, name), entry) for name, entry in types.items()}
    if TypeName.RECOGNITION in entries and TypeName.DETECTION not in entries:
        raise BadInput(f"Task {task} of type recognition depends on the output of detection: ask for both.")
    return entries


def _task(name: str) -> TaskName:
    if name not in set(TaskName):
        raise InvalidEntries(f"Unknown task {name!r}; there are {', '.join(TaskName)}.")
    return TaskName(name)


def _type(task: TaskName, name: str) -> TypeName:
    known = types_of(task)
    if name not in known:
        raise InvalidEntries(f"Unknown type {name!r} of task {task}; there are {' and '.join(known)}.")
    return TypeName(name)


def _entry(task: TaskName, type_name: TypeName, entry: _Entry) -> Entry:
    try:
        options = PARTS[task, type_name].options.model_validate(entry.options)
    except ValidationError as error:
        raise InvalidEntries(f"Options of {task} {type_name}: {_fault(error)}") from error
    return Entry(canonical(Part(task, type_name, entry.name)), options)


def canonical(part: Part) -> Part:
    """The part under the name of the model that it is shared with."""
    is_shared = part.task is TaskName.OCR and (
        part.type is TypeName.DETECTION or part.name.startswith("CH__")
    )
    return replace(part, name=_SHARED.get(part.name, part.name)) if is_shared else part


def _describe(error: ValidationError) -> str:
    fault = error.errors()[0]
    if fault["type"] in ("dict_type", "missing", "model_type"):
        return "Invalid request format."
    return f"Invalid request format: {_fault(error)}"


def _fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"

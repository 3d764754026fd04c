"""Immich's words: what a request's `entries` may ask for, as types, and the fault where it is malformed."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from adapter.errors import BadInput, InvalidEntries


class TaskName(StrEnum):
    CLIP = "clip"
    FACES = "facial-recognition"
    OCR = "ocr"


class TypeName(StrEnum):
    """The halves of a task: each is a model of its own."""

    VISUAL = "visual"
    TEXTUAL = "textual"
    DETECTION = "detection"
    RECOGNITION = "recognition"


class Options(BaseModel):
    """Options are strict about types and generous about names: unknown ones are ignored, as Immich does."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", populate_by_name=True)


class TextualOptions(Options):
    language: str | None = None


Score = Annotated[float, Field(alias="minScore", allow_inf_nan=False)]


class FaceDetectionOptions(Options):
    min_score: Score = 0.7


class OcrDetectionOptions(Options):
    min_score: Score = 0.5
    max_resolution: int = Field(736, alias="maxResolution", ge=32, le=8192)
    score_mode: Literal["fast", "slow"] = Field("fast", alias="scoreMode")


class OcrRecognitionOptions(Options):
    min_score: Score = 0.9


_OPTIONS: Mapping[tuple[TaskName, TypeName], type[Options]] = {
    (TaskName.CLIP, TypeName.VISUAL): Options,
    (TaskName.CLIP, TypeName.TEXTUAL): TextualOptions,
    (TaskName.FACES, TypeName.DETECTION): FaceDetectionOptions,
    (TaskName.FACES, TypeName.RECOGNITION): Options,
    (TaskName.OCR, TypeName.DETECTION): OcrDetectionOptions,
    (TaskName.OCR, TypeName.RECOGNITION): OcrRecognitionOptions,
}

_UNSAFE = str.maketrans({":": "_", "\\": "_", "/": "_", ".": None})


def clean_name(name: str) -> str:
    """The model's name as Immich stores it: the last segment of a path, without characters of paths."""
    cleaned = name.split("/")[-1].translate(_UNSAFE).strip()
    if not cleaned or not cleaned.isprintable():
        raise ValueError("a model's name is empty")
    return cleaned


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")
    name: Annotated[str, AfterValidator(clean_name)] = Field(alias="modelName")
    options: dict[str, Any] = {}


_ENTRIES = TypeAdapter(dict[str, dict[str, _Entry]])


@dataclass(frozen=True)
class Part:
    """One model that a request needs: the unit that is prepared and loaded."""

    task: TaskName
    type: TypeName
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.task} {self.type})"


@dataclass(frozen=True)
class Entry:
    part: Part
    options: Any  # the class of `_OPTIONS` for this task and type


@dataclass(frozen=True)
class Payload:
    """What is to be looked at: an encoded picture or a text, never both."""

    image: bytes | None = None
    text: str | None = None


Entries = Mapping[TaskName, Mapping[TypeName, Entry]]


def parse_entries(raw: str) -> Entries:
    """The tasks asked for.

    Raises:
        InvalidEntries: no JSON, a wrong shape, or a task, type or option that does not exist.
        BadInput: recognition is asked for without the detection that it works on.
    """
    try:
        # orjson refuses the NaN and Infinity that Python's own parser lets through.
        parsed = _ENTRIES.validate_python(orjson.loads(raw))
    except orjson.JSONDecodeError as error:
        raise InvalidEntries("Invalid request format.") from error
    except ValidationError as error:
        raise InvalidEntries(_describe(error)) from error
    return {_task(task): _parse_types(_task(task), types) for task, types in parsed.items()}


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
    known = [known_type for known_task, known_type in _OPTIONS if known_task is task]
    if name not in known:
        raise InvalidEntries(f"Unknown type {name!r} of task {task}; there are {' and '.join(known)}.")
    return TypeName(name)


def _entry(task: TaskName, type_name: TypeName, entry: _Entry) -> Entry:
    try:
        options = _OPTIONS[task, type_name].model_validate(entry.options)
    except ValidationError as error:
        raise InvalidEntries(f"Options of {task} {type_name}: {_fault(error)}") from error
    return Entry(Part(task, type_name, _shared_name(task, type_name, entry.name)), options)


def _shared_name(task: TaskName, type_name: TypeName, name: str) -> str:
    """OCR models of several languages (`LATIN__PP-OCRv5_mobile`) have one detector, and Chinese is the plain one."""
    language, _, base = name.rpartition("__")
    shared = task is TaskName.OCR and (type_name is TypeName.DETECTION or language == "CH")
    return base if shared else name


def _describe(error: ValidationError) -> str:
    fault = error.errors()[0]
    if fault["type"] in ("dict_type", "missing", "model_type"):
        return "Invalid request format."
    return f"Invalid request format: {_fault(error)}"


def _fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"

"""Published graphs run directly, on inputs made here with Pillow, numpy and tokenizers only."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from tests.support.families import SIZE_PX, TEXT_LENGTH, Files, write

Vector = NDArray[np.float32]

SHAPES = ((80, 144), (150, 70), (61, 61), (40, 333))


class Original:
    """The graphs of a repository, run one item at a time.

    Args:
        folder: where its files are written to.
        files: as they are published.
    """

    def __init__(self, folder: Path, files: Files) -> None:
        write(files, folder)
        self._folder = folder
        self._preprocess = json.loads(files["visual/preprocess_cfg.json"])
        self._tokenizer = Tokenizer.from_str(files["textual/tokenizer.json"].decode())

    def see(self, square: Image.Image) -> Vector:
        """The vector of a picture of the network's size."""
        assert square.size == (SIZE_PX, SIZE_PX)
        pixels = np.asarray(square)[np.newaxis]
        session = onnxruntime.InferenceSession(self._folder / "visual/model.onnx")
        (entry,) = session.get_inputs()
        if entry.type == "tensor(uint8)":
            return _run(session, {entry.name: pixels})
        mean, std = (np.array(self._preprocess[key], np.float32) for key in ("mean", "std"))
        values = (pixels.astype(np.float32) / np.float32(255) - mean) / std
        return _run(session, {entry.name: values.transpose(0, 3, 1, 2)})

    def read(self, text: str, pad: str, *, length: int = TEXT_LENGTH, masked: bool = True) -> Vector:
        """The vector of a text, tokenised just as it is.

        Args:
            pad: the token behind its end.
            masked: whether a graph that takes a mask is told what is padding.
        """
        ids = self._tokenizer.encode(text).ids
        ids = ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
        row = np.full((1, length), self._tokenizer.token_to_id(pad))
        row[0, : len(ids)] = ids
        mask = (np.arange(length) < (len(ids) if masked else length))[np.newaxis]
        session = onnxruntime.InferenceSession(self._folder / "textual/model.onnx")
        types = {"tensor(int32)": np.int32, "tensor(int64)": np.int64}
        feeds = zip(session.get_inputs(), (row, mask), strict=False)  # only some take a mask
        return _run(session, {entry.name: array.astype(types[entry.type]) for entry, array in feeds})


def _run(session: onnxruntime.InferenceSession, feeds: dict[str, NDArray[Any]]) -> Vector:
    vector: Vector = session.run(None, feeds)[0][0]
    return vector


def pictures() -> list[Image.Image]:
    """Small coloured fields, so that filters differ at their edges: wide, tall, square and very wide."""
    fields = np.random.default_rng(5).integers(0, 256, (len(SHAPES), 30, 30, 3), np.uint8)
    return [
        Image.fromarray(field).resize((width, height), Image.Resampling.NEAREST)
        for field, (height, width) in zip(fields, SHAPES, strict=True)
    ]


def cropped(image: Image.Image) -> Image.Image:
    """The square that releases before 3.3 show to every network."""
    ratio = image.width / image.height
    sides = (SIZE_PX, int(SIZE_PX / ratio)) if ratio < 1 else (int(ratio * SIZE_PX), SIZE_PX)
    left, top = (int(side / 2 - SIZE_PX / 2) for side in sides)
    resized = _resized(image, *sides, Image.Resampling.BICUBIC)
    return resized.crop((left, top, left + SIZE_PX, top + SIZE_PX))


def squashed(image: Image.Image, resampling: Image.Resampling) -> Image.Image:
    """The whole picture as a square, whatever its shape."""
    return _resized(image, SIZE_PX, SIZE_PX, resampling)


def _resized(image: Image.Image, width: int, height: int, resampling: Image.Resampling) -> Image.Image:
    """As Pillow 12 does it, which the release has: across first. Pillow 13 scales tall pictures down first."""
    return image.resize((width, image.height), resampling).resize((width, height), resampling)


def assert_same(found: Vector, expected: Vector) -> None:
    """What a user's index allows."""
    assert _cosine(found, expected) >= 0.9999
    np.testing.assert_allclose(found, expected, atol=1e-4)


def assert_far(one: Vector, other: Vector) -> None:
    """What is claimed to matter does: ten times more than `assert_same` allows."""
    assert _cosine(one, other) < 0.999


def _cosine(one: Vector, other: Vector) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

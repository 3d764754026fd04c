"""The face models made by code: drawn faces are found and told apart, and nothing else is taken for one."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from adapter.preparation.graphs import samples
from adapter.preparation.graphs.pixels import PIXELS, Normalisation
from adapter.preparation.graphs.rewrite import Recipe, rewrite
from adapter.preparation.triton_models.faces import DETECTION, RECOGNITION
from demo.models.face_graphs import build
from demo.models.faces import IDENTITIES, LANDMARKS, SKIN, draw_face
from transforms import faces


class Models:
    def __init__(self, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        self._detector, self._recognizer = (
            onnxruntime.InferenceSession(folder / part / "model.onnx", options, ["CPUExecutionProvider"])
            for part in ("detection", "recognition")
        )

    def find(self, pixels: NDArray[np.uint8]) -> faces.Faces:
        canvas, scale = faces.letterbox(pixels)
        heads = self._detector.run(None, {"input.1": tensor(canvas[None], 128)})
        return faces.decode_heads(heads, scale, min_score=0.7)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings of unit length, (n, 512)."""
        embeddings = self._recognizer.run(None, {"input.1": tensor(crops, 127.5)})[0]
        return np.array(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))


def tensor(pixels_nhwc: NDArray[np.uint8], deviation: float) -> NDArray[np.float32]:
    return np.array((pixels_nhwc.transpose(0, 3, 1, 2) - 127.5) / deviation, np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo-face")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def models(folder: Path) -> Models:
    return Models(folder)


def plain(height: int = 640, width: int = 640, color: tuple[int, int, int] = (120, 130, 110)) -> Any:
    return np.full((height, width, 3), color, np.uint8)


def as_jpeg(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As Immich's previews are: quality 80, colours at half the size."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=80)
    return np.asarray(Image.open(file))


def no_faces() -> dict[str, NDArray[np.uint8]]:
    """Gradients, and the colour of faces in other shapes."""
    x, y = np.mgrid[:640, :640][::-1] * 255 // 639
    hues = np.stack([x, np.full_like(x, 255), y], -1).astype(np.uint8)
    gradients = {
        "gray": np.stack([x, x, x], -1).astype(np.uint8),
        "red to blue": np.stack([x, np.full_like(x, 60), y], -1).astype(np.uint8),
        "hues": np.asarray(Image.fromarray(hues, "HSV").convert("RGB")),
    }
    y, x = np.mgrid[:640, :640] - 310
    distance = np.hypot(x, y)
    masks = {
        "disc": distance < 100,
        "half disc": (distance < 100) & (y < 0),
        "ring": (distance < 100) & (distance > 45),
        "oval": np.hypot(x * 1.7, y) < 120,
        "square": np.maximum(abs(x), abs(y)) < 100,
        "stripe": abs(x) < 60,
        "all": x > -1000,
    }
    shapes = {name: np.where(mask[..., None], SKIN, plain()).astype(np.uint8) for name, mask in masks.items()}
    return gradients | shapes


@pytest.mark.parametrize(
    ("part", "size", "normalisation"), [("detection", 640, DETECTION), ("recognition", 112, RECOGNITION)]
)
def test_batching_of_both_graphs_can_be_proven(
    part: str, size: int, normalisation: Normalisation, folder: Path, tmp_path: Path
) -> None:
    recipe = Recipe([{PIXELS: picture} for picture in samples.pictures(size, size)], normalisation)
    prepared = rewrite(folder / part / "model.onnx", tmp_path / "model.onnx", recipe)
    assert prepared.batchable, prepared.why_not


@pytest.mark.parametrize("size", [40, 64, 120, 230, 400])
def test_a_face_of_any_size_is_found_once_where_it_is(size: int, models: Models) -> None:
    random = np.random.default_rng(size)
    for background in (plain(color=(245, 245, 240)), no_faces()["gray"]):
        x, y = random.uniform(size / 2, 640 - size / 2, 2)
        draw_face(background, (x, y), size, int(random.integers(IDENTITIES)))
        for pixels in (background, as_jpeg(background)):
            found = models.find(pixels)
            assert len(found.scores) == 1
            expected = [x - size / 2, y - size / 2, x + size / 2, y + size / 2]
            assert np.abs(found.boxes_xyxy[0] - expected).max() < 0.06 * size


def test_all_faces_of_a_preview_are_found_and_recognised(models: Models) -> None:
    pixels = plain(1080, 1440)
    drawn = {
        0: (300, 350, 500), 7: (800, 200, 250), 13: (1150, 250, 160), 24: (800, 700, 300), 3: (1250, 800, 100)
    }  # fmt: skip
    portraits = {}
    for identity, (x, y, size) in drawn.items():
        draw_face(pixels, (x, y), size, identity)
        draw_face(alone := plain(), (320, 320), 300, identity)
        found = models.find(alone)
        offsets = (found.landmarks[0] - [320, 320]) / 300  # of eyes, nose and corners of the mouth
        assert np.abs(offsets - LANDMARKS).max() < 0.01
        portraits[identity] = models.embed(faces.align(alone, found.landmarks))[0]
    pixels = as_jpeg(pixels)
    found = models.find(pixels)
    assert len(found.scores) == len(drawn)
    embeddings = models.embed(faces.align(pixels, found.landmarks))
    for box, embedding in zip(found.boxes_xyxy, embeddings, strict=True):
        nearest = max(portraits, key=lambda identity: float(embedding @ portraits[identity]))
        x, y, size = drawn[nearest]
        assert np.abs(box - [x - size / 2, y - size / 2, x + size / 2, y + size / 2]).max() < 0.06 * size
        assert embedding @ portraits[nearest] > 0.8


def test_two_identities_are_never_alike(models: Models) -> None:
    crops = np.full((IDENTITIES, 112, 112, 3), 120, np.uint8)
    for identity, crop in enumerate(crops):
        draw_face(crop, (56, 68), 100, identity)
    embeddings = models.embed(crops)
    assert (embeddings @ embeddings.T - np.eye(IDENTITIES)).max() < 0.4


def test_gradients_and_other_shapes_are_no_faces(models: Models) -> None:
    found = {name: len(models.find(pixels).scores) for name, pixels in no_faces().items()}
    assert not any(found.values()), found

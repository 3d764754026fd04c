"""The face models made by code: drawn faces are found and told apart, and nothing else is taken for one."""

import io
from dataclasses import dataclass
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
from demo.models.faces import IDENTITIES, SKIN, draw_face
from transforms import faces

MIN_SCORE = 0.7


@dataclass(frozen=True)
class Models:
    detector: Any
    recognizer: Any

    def find(self, pixels: NDArray[np.uint8], min_score: float = MIN_SCORE) -> faces.Faces:
        canvas, scale = faces.letterbox(pixels)
        heads = self.detector.run(None, {"input.1": tensor(canvas[None], 128)})
        return faces.decode_heads(heads, scale, min_score)

    def embed(self, pixels: NDArray[np.uint8], found: faces.Faces) -> NDArray[np.float32]:
        return self.embed_crops(faces.align(pixels, found.landmarks))

    def embed_crops(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings of unit length, (n, 512)."""
        embeddings = self.recognizer.run(None, {"input.1": tensor(crops, 127.5)})[0]
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
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return Models(
        *(
            onnxruntime.InferenceSession(folder / part / "model.onnx", options, ["CPUExecutionProvider"])
            for part in ("detection", "recognition")
        )
    )


def plain(height: int = 640, width: int = 640, color: tuple[int, int, int] = (120, 130, 110)) -> Any:
    return np.full((height, width, 3), color, np.uint8)


def as_jpeg(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As Immich's previews are: quality 80, colours at half the size."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=80)
    return np.asarray(Image.open(file))


def gradients() -> dict[str, NDArray[np.uint8]]:
    y, x = np.mgrid[:640, :640] * 255 // 639
    half = np.full_like(x, 60)
    hues = Image.fromarray(np.stack([x, half * 0 + 255, y], -1).astype(np.uint8), "HSV").convert("RGB")
    return {
        "gray": np.stack([x, x, x], -1).astype(np.uint8),
        "red to blue": np.stack([x, half, y], -1).astype(np.uint8),
        "hues": np.asarray(hues),
    }


def skin_shapes() -> dict[str, NDArray[np.uint8]]:
    """The colour of faces in other shapes."""
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
    return {name: np.where(mask[..., None], SKIN, plain()).astype(np.uint8) for name, mask in masks.items()}


def test_models_are_the_same_bytes_every_time(folder: Path, tmp_path: Path) -> None:
    build(tmp_path)
    for name in ("detection/model.onnx", "recognition/model.onnx"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize(
    ("part", "size", "normalisation"), [("detection", 640, DETECTION), ("recognition", 112, RECOGNITION)]
)
def test_batching_of_both_graphs_can_be_proven(
    part: str, size: int, normalisation: Normalisation, folder: Path, tmp_path: Path
) -> None:
    recipe = Recipe([{PIXELS: picture} for picture in samples.pictures(size, size)], normalisation)
    prepared = rewrite(folder / part / "model.onnx", tmp_path / "model.onnx", recipe)
    assert prepared.batchable, prepared.why_not


@pytest.mark.parametrize("size", [40, 50, 64, 80, 120, 170, 230, 310, 400])
def test_a_face_of_any_size_is_found_once_where_it_is(size: int, models: Models) -> None:
    random = np.random.default_rng(size)
    for background in (plain(color=(245, 245, 240)), gradients()["gray"].copy()):
        x, y = random.uniform(size / 2, 640 - size / 2, 2)
        draw_face(background, (x, y), size, int(random.integers(IDENTITIES)))
        for pixels in (background, as_jpeg(background)):
            found = models.find(pixels)
            assert len(found.scores) == 1
            expected = [x - size / 2, y - size / 2, x + size / 2, y + size / 2]
            assert np.abs(found.boxes_xyxy[0] - expected).max() < 0.06 * size


def test_landmarks_are_at_eyes_nose_and_mouth(models: Models) -> None:
    pixels = plain()
    draw_face(pixels, (300, 320), 200, 0)
    offsets = (models.find(pixels).landmarks[0] - [300, 320]) / 200
    expected = [[-0.176, -0.164], [0.176, -0.164], [0, 0.037], [-0.146, 0.243], [0.146, 0.243]]
    assert np.abs(offsets - expected).max() < 0.01


def test_all_faces_of_a_preview_are_found_and_recognised(models: Models) -> None:
    pixels = plain(1080, 1440)
    drawn = {
        0: (300, 350, 500),
        7: (800, 200, 250),
        13: (1150, 250, 160),
        24: (800, 700, 300),
        3: (1250, 800, 100),
    }
    portraits = {}
    for identity, (x, y, size) in drawn.items():
        draw_face(pixels, (x, y), size, identity)
        alone = plain()
        draw_face(alone, (320, 320), 300, identity)
        portraits[identity] = models.embed(alone, models.find(alone))[0]
    pixels = as_jpeg(pixels)
    found = models.find(pixels)
    assert len(found.scores) == len(drawn)
    for box, embedding in zip(found.boxes_xyxy, models.embed(pixels, found), strict=True):
        nearest = max(portraits, key=lambda identity: float(embedding @ portraits[identity]))
        x, y, size = drawn[nearest]
        assert np.abs(box - [x - size / 2, y - size / 2, x + size / 2, y + size / 2]).max() < 0.06 * size
        assert embedding @ portraits[nearest] > 0.8


def test_two_identities_are_never_alike(models: Models) -> None:
    crops = np.full((IDENTITIES, 112, 112, 3), 120, np.uint8)
    for identity, crop in enumerate(crops):
        draw_face(crop, (56, 68), 100, identity)
    embeddings = models.embed_crops(crops)
    assert (embeddings @ embeddings.T - np.eye(IDENTITIES)).max() < 0.4


@pytest.mark.parametrize("name", [*gradients(), *skin_shapes()])
def test_gradients_and_other_shapes_are_no_faces(name: str, models: Models) -> None:
    pixels = (gradients() | skin_shapes())[name]
    assert not len(models.find(pixels).scores)

"""Face models: what Triton is told of a detector (SCRFD) and a recogniser (ArcFace), and their graphs' recipes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adapter.preparation.config import Model, Step, Tensor
from adapter.preparation.graphs import samples
from adapter.preparation.graphs.engine import Trial
from adapter.preparation.graphs.file import RewriteError
from adapter.preparation.graphs.pixels import PIXELS, Normalisation
from adapter.preparation.graphs.precision import reduce_precision, same_directions, sample_count
from adapter.preparation.graphs.rewrite import Recipe, rewrite
from adapter.preparation.triton_models.gpu import Plan
from adapter.preparation.triton_models.shared import (
    CPU_BATCH,
    IMAGE,
    IMAGE_SIZE,
    PICTURE,
    Generated,
    generated,
    graph_file,
    graph_model,
    same,
)
from adapter.protocol import GRAPH
from adapter.settings import PreparationSettings
from transforms.faces import CROP_SIZE_PX, classify_heads

DETECTOR_SIZE = 640
DETECTION = Normalisation((127.5,) * 3, (128.0,) * 3, scale=None, size=(DETECTOR_SIZE, DETECTOR_SIZE))
RECOGNITION = Normalisation((127.5,) * 3, (127.5,) * 3, scale=None, size=(CROP_SIZE_PX, CROP_SIZE_PX))

DETECTOR_PLAN = Plan(most=8, working_mib=700, sizes=(1, 2, 4, 8), search="EXHAUSTIVE")
RECOGNISER_SIZES = (1, 4)

CANVAS = Tensor(PIXELS, "UINT8", (DETECTOR_SIZE, DETECTOR_SIZE, 3), "height, width, RGB")
SCALE = Tensor("scale", "FP32", (1,), "pixels of the canvas per pixel of the picture")
MIN_SCORE = Tensor("min_score", "FP32", (1,))
FACES = (
    Tensor("boxes", "FP32", (-1, 4), "face, (x1, y1, x2, y2) in pixels of the picture"),
    Tensor("scores", "FP32", (-1,), "best first"),
    Tensor("landmarks", "FP32", (-1, 5, 2), "face, eyes nose mouth, (x, y)"),
    Tensor("crops", "UINT8", (-1, CROP_SIZE_PX, CROP_SIZE_PX, 3), "face, height, width, RGB"),
)


def generate_detection(source: Path, name: str, staging: Path, settings: PreparationSettings) -> Generated:
    """The steps `preprocess`, `detector` and `postprocess`, and the ensemble over them."""
    preprocess, detector, postprocess = (
        f"{name}.{step}" for step in ("preprocess", "detector", "postprocess")
    )
    recipe = Recipe(
        [{PIXELS: picture} for picture in samples.pictures(DETECTOR_SIZE, DETECTOR_SIZE)], DETECTION
    )
    graph = rewrite(source / "detection" / GRAPH, graph_file(staging, detector), recipe)
    heads = [replace(head, whole=not graph.batchable) for head in graph.outputs]
    _check(heads)
    models = [
        Model(
            preprocess,
            "image ─[decode, letterbox]→ pixels, scale, picture, image_size",
            [IMAGE],
            [CANVAS, SCALE, PICTURE, IMAGE_SIZE],
            backend="face_preprocess",
            parameters={"size": str(DETECTOR_SIZE), "max_pixels": str(settings.max_pixels)},
        ),
        graph_model(
            detector,
            "pixels ─[normalise, detect]→ heads",
            [CANVAS],
            heads,
            settings,
            graph_file(staging, detector),
            DETECTOR_PLAN,
            one_shape=True,
            cpu_batch=2,
        ),
        Model(
            postprocess,
            "heads, scale, min_score, picture ─[decode, suppress, align]→ boxes, scores, landmarks, crops",
            [*heads, SCALE, MIN_SCORE, PICTURE],
            FACES,
            backend="face_postprocess",
            parameters={"size": str(DETECTOR_SIZE)},
        ),
        Model(
            name,
            "image ─[preprocess]→ pixels ─[detector]→ heads ─[postprocess]→ boxes, scores, landmarks, crops\n"
            "            ├────────→ picture, scale ───────────────┘\n"
            "            └────────→ image_size",
            [IMAGE, MIN_SCORE],
            [*FACES, IMAGE_SIZE],
            steps=[
                Step(preprocess, same(IMAGE), same(CANVAS, SCALE, PICTURE, IMAGE_SIZE)),
                Step(detector, same(CANVAS), same(*heads)),
                Step(postprocess, same(*heads, SCALE, MIN_SCORE, PICTURE), same(*FACES)),
            ],
        ),
    ]
    return generated(models, settings, graph)


def generate_recognition(source: Path, name: str, staging: Path, settings: PreparationSettings) -> Generated:
    """The graph, and an ensemble of this one step that gives its tensors their public names."""
    encoder = f"{name}.encoder"
    target = graph_file(staging, encoder)
    full = rewrite(source / "recognition" / GRAPH, target, recognition_recipe(source))
    crops = recognition_recipe(source, sample_count(settings.precision)).samples
    graph = reduce_precision(full, target, crops, settings.precision)
    pixels = Tensor(PIXELS, "UINT8", (CROP_SIZE_PX, CROP_SIZE_PX, 3), "height, width, RGB")
    output = graph.embedding
    limit = settings.max_batch_size_faces
    if not settings.device.is_gpu:
        limit = min(limit, CPU_BATCH)
    models = [
        graph_model(
            encoder,
            "pixels ─[normalise, encode]→ embedding",
            [pixels],
            [output],
            settings,
            target,
            Plan(limit, working_mib=600, sizes=[size for size in RECOGNISER_SIZES if size < limit] + [limit]),
            trial=Trial(crops, graph.batchable, same_directions(output.name)),
            one_shape=True,
            half=graph.half,
        ),
        Model(
            name,
            "crops ─[encoder]→ embedding",
            [replace(pixels, name="crops")],
            [Tensor("embedding", "FP32", output.dims)],
            steps=[Step(encoder, {PIXELS: "crops"}, {output.name: "embedding"})],
        ),
    ]
    return generated([replace(model, max_batch_size=limit) for model in models], settings, graph)


def recognition_recipe(_: Path, count: int = samples.COUNT) -> Recipe:
    """For a recogniser's graph, with as many samples."""
    return Recipe(
        [{PIXELS: crop} for crop in samples.pictures(CROP_SIZE_PX, CROP_SIZE_PX, count)], RECOGNITION
    )


def _check(heads: Sequence[Tensor]) -> None:
    """Refuses a detector whose outputs are not SCRFD's."""
    try:
        classify_heads([head.dims for head in heads], DETECTOR_SIZE)
    except ValueError as error:
        raise RewriteError(str(error)) from error

"""What it saves and what it costs to decode JPEGs at less than full size for CLIP: milliseconds, and cosines."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from adapter.preparation.graphs.pixels import PIXELS
from adapter.preparation.repository import GRAPH, Preferences, prepare, public_name, version_folder
from adapter.preparation.triton_models.clip import VISUAL
from adapter.protocol import Part, TaskName, TypeName
from bench import scenes
from transforms import InputError, images

MAX_PIXELS = 50_000_000
GAPS = (images.REDUCING_GAP, 1)
"""Pixels kept, on each axis, for each one that the model sees; the first is what the setting `fast` keeps."""
ALIKE = 0.999
DRAWN = 12

Pixels = NDArray[np.uint8]
Encoder = Callable[[Pixels], NDArray[np.float32]]


@dataclass(frozen=True)
class Seen:
    """What a CLIP model sees of a picture, and what it took."""

    pixels: Pixels
    is_reduced: bool
    decode_ms: float
    resize_ms: float


@dataclass(frozen=True)
class Comparison:
    """A picture at full size and reduced: medians of decode and resize, and the cosine of the two vectors."""

    exact_ms: tuple[float, float]
    fast_ms: tuple[float, float]
    cosine: float


def see(data: bytes, size: int, gap: int | None) -> Seen:
    """As the step `clip_preprocess` does it; without a gap, exactly.

    Raises:
        InputError: as `images.open_picture`.
    """
    start = time.perf_counter()
    picture = images.open_picture(data, MAX_PIXELS, gap and gap * size)
    decoded = time.perf_counter()
    pixels = images.clip_pixels(picture.image, size, extent=picture.extent)
    end = time.perf_counter()
    return Seen(pixels, picture.image.size != picture.size, (decoded - start) * 1e3, (end - decoded) * 1e3)


def compare(data: bytes, size: int, gap: int, encode: Encoder, rounds: int) -> Comparison | None:
    """Both ways for one picture; none where they are the same way."""
    if not see(data, size, gap).is_reduced:
        return None
    exact, fast = zip(*((see(data, size, None), see(data, size, gap)) for _ in range(rounds)), strict=True)
    vectors = [encode(seen[0].pixels) for seen in (exact, fast)]
    cosine = vectors[0] @ vectors[1] / np.linalg.norm(vectors[0]) / np.linalg.norm(vectors[1])
    return Comparison(_medians(exact), _medians(fast), float(cosine))


def open_encoder(model: Path) -> tuple[Encoder, int]:
    """The picture half of a model, as Triton would run it, and the side in pixels of what it sees.

    Args:
        model: its folder in the cache, in Immich's layout.
    """
    part = Part(TaskName.CLIP, TypeName.VISUAL, model.name)
    with tempfile.TemporaryDirectory() as scratch:
        repository = Path(scratch, "model_repository")
        prepare(part, model, repository, VISUAL, Preferences())
        graph = version_folder(repository, f"{public_name(part)}.encoder") / GRAPH
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[1]
    return lambda pixels: session.run(None, {PIXELS: pixels[np.newaxis]})[0].ravel(), size


def read_pictures(folder: Path, preview_px: int) -> Iterator[bytes]:
    """The pictures of a folder in the order of their names, without what cannot be decoded.

    Args:
        preview_px: long side of the JPEGs that are made of them, or 0 for the files as they are.
    """
    for path in sorted(filter(Path.is_file, folder.iterdir())):
        try:
            image = images.open_rgb(path.read_bytes(), MAX_PIXELS)
        except InputError:
            continue
        yield _as_preview(image, preview_px) if preview_px else path.read_bytes()


def drawn_pictures() -> Iterator[bytes]:
    """Pictures with the detail of photos, as Immich's previews."""
    return map(scenes.preview, scenes.photos(DRAWN))


def measure(
    model: Annotated[
        Path, typer.Option(help="A CLIP model's folder in the cache.", exists=True, file_okay=False)
    ],
    pictures: Annotated[
        Path | None,
        typer.Option(help="A folder.", show_default="twelve made by code", exists=True, file_okay=False),
    ] = None,
    preview_px: Annotated[
        int,
        typer.Option(help="First make JPEGs with this long side of the folder's pictures; 0: as they are."),
    ] = 0,
    rounds: Annotated[int, typer.Option(help="Times that each picture is decoded each way.", min=1)] = 7,
) -> None:
    """Compares full and reduced decoding of JPEGs for CLIP. Times are medians; the two ways take turns."""
    encode, size = open_encoder(model)
    files = list(read_pictures(pictures, preview_px) if pictures else drawn_pictures())
    columns = ("kept", "reduced", "cosine", "mean", f"< {ALIKE}", "decode ms", "resize ms", "ratio")
    table = Table(*columns, box=None)
    for gap in GAPS:
        found = [one for data in files if (one := compare(data, size, gap, encode, rounds))]
        table.add_row(f"{gap}x", f"{len(found)}/{len(files)}", *(_summary(found) if found else ()))
    Console().print(table)


def _summary(found: Sequence[Comparison]) -> Iterator[str]:
    cosines = np.array([one.cosine for one in found])
    yield from (f"{cosines.min():.5f}", f"{cosines.mean():.5f}", str((cosines < ALIKE).sum()))
    exact, fast = np.array([one.exact_ms for one in found]), np.array([one.fast_ms for one in found])
    for stage in range(2):
        yield f"{np.median(exact[:, stage]):.1f} → {np.median(fast[:, stage]):.1f}"
    yield f"{np.median(exact.sum(axis=1) / fast.sum(axis=1)):.1f}"


def _medians(seen: Sequence[Seen]) -> tuple[float, float]:
    return float(np.median([one.decode_ms for one in seen])), float(
        np.median([one.resize_ms for one in seen])
    )


def _as_preview(image: Image.Image, long_side: int) -> bytes:
    scale = long_side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return scenes.jpeg(image.resize(size, Image.Resampling.LANCZOS))


if __name__ == "__main__":
    typer.run(measure)

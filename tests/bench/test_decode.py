"""What reduced decoding saves and costs: the table of `scripts/measure-decode`."""

from pathlib import Path

import numpy as np
import typer
from typer.testing import CliRunner

from bench.decode import compare, drawn_pictures, measure
from demo.models import clip, place
from tests.support.pictures import jpeg

SIZE = 32
app = typer.Typer()
app.command()(measure)


def levels(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return pixels.ravel().astype(np.float32)


def test_a_picture_that_is_not_reduced_is_not_compared() -> None:
    assert compare(jpeg(2 * SIZE, 4 * SIZE - 1), SIZE, 2, levels, rounds=1) is None
    assert compare(jpeg(4 * SIZE, 4 * SIZE), SIZE, 2, levels, rounds=1) is not None


def test_keeping_more_pixels_keeps_vectors_closer() -> None:
    near, far = (compare(next(drawn_pictures()), 224, gap, levels, rounds=1) for gap in (2, 1))
    assert near is not None
    assert far is not None
    assert far.cosine < near.cosine < 1
    assert near.cosine > 0.999


def test_the_table_counts_what_is_reduced(tmp_path: Path) -> None:
    place(tmp_path / clip.NAME, clip.build)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, size in {"large": 1000, "medium": 500, "small": 300}.items():
        (pictures / name).write_bytes(jpeg(size, size))
    (pictures / "notes.txt").write_text("no picture")
    options = ["--model", str(tmp_path / clip.NAME), "--pictures", str(pictures), "--rounds", "1"]
    lines = CliRunner().invoke(app, options).output.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["2x", "1/3"], ["1x", "2/3"]]

"""JPEGs, which another decoder than Pillow's reads where it can: nobody is to notice."""

import io
import random
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from transforms import InputError, images, pillow

LIMIT = 3_000_000
SIZES = ((1, 1), (7, 9), (16, 8), (17, 33), (90, 31), (1440, 1080))
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0", "4:1:1")
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "best": {"quality": 100},
    "worst": {"quality": 5},
}


def encode(size: tuple[int, int], mode: str = "RGB", **options: Any) -> bytes:
    """Half of it is smooth, half of it noise, which strains what is rounded and clipped."""
    noise = np.random.default_rng(sum(size)).integers(0, 256, (size[1], size[0], 3), np.uint8)
    noise[:, : size[0] // 2] = noise[:1, :1] // 2 + np.arange(size[1], dtype=np.uint8)[:, None, None] // 2
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def usual() -> Iterator[tuple[str, bytes]]:
    for (kind, options), size in product(KINDS.items(), SIZES):
        for subsampling in SUBSAMPLINGS:
            yield f"{kind}-{size}-{subsampling}", encode(size, subsampling=subsampling, **options)
        yield f"{kind}-{size}-gray", encode(size, "L", **options)
        yield f"{kind}-{size}-rgb", encode(size, keep_rgb=True, **options)


def odd() -> Iterator[tuple[str, bytes]]:
    yield "cmyk", encode((90, 31), "CMYK")
    for transform, colors in product(range(4), ("4:2:0", "rgb", "gray")):
        yield f"adobe-{transform}-{colors}", with_adobe(USUAL[f"baseline-(90, 31)-{colors}"], transform)
    for scans in range(1, 10):
        yield f"only-{scans}-scans", first_scans(USUAL["progressive-(90, 31)-4:2:0"], scans)


def with_adobe(data: bytes, transform: int) -> bytes:
    """The same with a marker that says how its colours are meant: as they are (0), YCbCr (1), YCCK (2)."""
    return data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform]) + data[2:]


def first_scans(data: bytes, scans: int) -> bytes:
    """A whole progressive file of which the finer scans were never written."""
    starts = data.split(b"\xff\xda")
    return b"\xff\xda".join(starts[: scans + 1]) + b"\xff\xd9"


USUAL = dict(usual())
JPEGS = USUAL | dict(odd())


def by_pillow(data: bytes) -> NDArray[np.uint8] | str:
    try:
        with pillow.opened(data, LIMIT) as image:
            return np.asarray(image.convert("RGB"))
    except InputError as fault:
        return str(fault)


def decoded(data: bytes) -> NDArray[np.uint8] | str:
    try:
        return images.decode(data, LIMIT)
    except InputError as fault:
        return str(fault)


@pytest.mark.parametrize("key", JPEGS)
def test_every_kind_of_jpeg_is_as_pillow_reads_it(key: str) -> None:
    np.testing.assert_array_equal(decoded(JPEGS[key]), by_pillow(JPEGS[key]))


def test_the_golden_pictures_are_as_pillow_reads_them(shared: Path) -> None:
    files = sorted((shared / "golden/images").glob("*.jpg"))
    assert len(files) > 10
    for file in files:
        data = file.read_bytes()
        np.testing.assert_array_equal(decoded(data), by_pillow(data), err_msg=file.name)


@given(st.sampled_from([key for key, data in JPEGS.items() if len(data) < 20_000]), st.randoms())
@settings(max_examples=1000, deadline=None)
def test_cut_and_damaged_files_are_read_or_refused_as_pillow_does(key: str, chance: random.Random) -> None:
    data = bytearray(JPEGS[key])
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(chance.choice([200, len(data)]))
        data[at % len(data)] = chance.choice([0, 1, 0x11, 0x12, 0x21, 0x22, 255, chance.randrange(256)])
    whole = bytes(data) + bytes([chance.randrange(256)]) * chance.randint(0, 9)
    for cut in (chance.randint(1, len(whole)), len(whole) - chance.randint(0, 6), len(whole)):
        np.testing.assert_array_equal(decoded(whole[:cut]), by_pillow(whole[:cut]))

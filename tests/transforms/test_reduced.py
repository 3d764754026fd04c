"""Decoding JPEGs at less than full size: the same square, nearly the same pixels, the same faults."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from transforms import InputError, images

SIDE = 32
AT_LEAST = SIDE * images.REDUCING_GAP
LIMIT = 3_000_000
UNEVEN = [(1441, 959), (959, 1441), (1087, 1447), (513, 1025), (257, 257), (65, 1999), (1999, 65)]
MODES = ["L", "RGB", "CMYK"]
FORMATS = ["PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "AVIF"]


def slope(width: int, height: int) -> Image.Image:
    """Black to full red from left to right, to full green from top to bottom: a pixel tells where it is from."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([255 * x / width, 255 * y / height, np.full_like(x, 128)], -1)
    return Image.fromarray(np.round(pixels).astype(np.uint8))


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(image: Image.Image, **options: Any) -> bytes:
    return encode(image, "JPEG", **{"quality": 95, "subsampling": 0, **options})


def exact(data: bytes, resize_mode: str = "shortest") -> NDArray[np.uint8]:
    return images.clip_pixels(images.open_rgb(data, LIMIT), SIDE, resize_mode=resize_mode)


def fast(data: bytes, resize_mode: str = "shortest") -> NDArray[np.uint8]:
    picture = images.open_picture(data, LIMIT, AT_LEAST)
    return images.clip_pixels(picture.image, SIDE, resize_mode=resize_mode, extent=picture.extent)


def deviation(data: bytes, resize_mode: str = "shortest") -> int:
    return int(np.abs(fast(data, resize_mode).astype(int) - exact(data, resize_mode)).max())


@pytest.mark.parametrize(
    ("sent", "decoded"),
    [
        ((127, 900), (127, 900)),
        ((128, 128), (64, 64)),
        ((255, 900), (128, 450)),
        ((256, 256), (64, 64)),
        ((513, 1025), (65, 129)),
        ((1999, 1500), (250, 188)),
    ],
)
def test_a_jpeg_is_decoded_as_small_as_may_be(sent: tuple[int, int], decoded: tuple[int, int]) -> None:
    picture = images.open_picture(jpeg(slope(*sent)), LIMIT, AT_LEAST)
    assert picture.size == sent
    assert picture.image.size == decoded
    assert picture.image.mode == "RGB"


@pytest.mark.parametrize("shape", UNEVEN)
@pytest.mark.parametrize("resize_mode", list(images.ResizeMode))
def test_the_square_is_that_of_the_full_picture(shape: tuple[int, int], resize_mode: str) -> None:
    """A slope of 255 levels over the short side: a tenth of a pixel of the square is about one level."""
    assert deviation(jpeg(slope(*shape)), resize_mode) <= 2


@pytest.mark.parametrize("shape", UNEVEN)
def test_what_is_in_the_middle_stays_there(shape: tuple[int, int]) -> None:
    image = Image.new("RGB", shape)
    reach = min(shape) // 6
    x, y = shape[0] // 2, shape[1] // 2
    image.paste((255, 255, 255), (x - reach, y - reach, x + reach, y + reach))

    def center(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.array([np.average(place, weights=pixels[..., 0]) for place in np.mgrid[:SIDE, :SIDE]])

    data = jpeg(image)
    assert np.abs(center(fast(data)) - center(exact(data))).max() < 0.05


@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from(list(images.ResizeMode)))
@settings(max_examples=60, deadline=None)
def test_every_size_keeps_its_square(width: int, height: int, resize_mode: str) -> None:
    data = jpeg(slope(width, height))
    picture = images.open_picture(data, LIMIT, AT_LEAST)
    assert picture.size == (width, height)
    assert min(picture.extent) >= min(width, height, AT_LEAST)
    assert fast(data, resize_mode).shape == (SIDE, SIDE, 3)
    assert deviation(data, resize_mode) <= 3


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 2}, {"quality": 60}])
@pytest.mark.parametrize("mode", MODES)
def test_every_kind_of_jpeg_can_be_reduced(mode: str, options: dict[str, Any]) -> None:
    data = jpeg(slope(500, 401).convert(mode), **options)
    assert images.open_picture(data, LIMIT, AT_LEAST).image.size == (125, 101)
    assert deviation(data) <= 6


def test_the_first_of_several_pictures_can_be_reduced() -> None:
    data = encode(
        slope(500, 400), "MPO", quality=95, save_all=True, append_images=[Image.new("RGB", (500, 400))]
    )
    assert images.open_picture(data, LIMIT, AT_LEAST).image.size == (125, 100)
    assert deviation(data) <= 2


def test_orientation_is_ignored_in_reduced_pictures_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    np.testing.assert_array_equal(fast(jpeg(slope(500, 300), exif=exif)), fast(jpeg(slope(500, 300))))


@pytest.mark.parametrize("kind", FORMATS)
def test_other_formats_are_decoded_in_full(kind: str) -> None:
    data = encode(slope(500, 300), kind)
    assert images.open_picture(data, LIMIT, AT_LEAST).image.size == (500, 300)
    np.testing.assert_array_equal(fast(data), exact(data))


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (90, 1), (63, 64), (127, 127), (900, 127)])
def test_small_jpegs_are_decoded_in_full(shape: tuple[int, int]) -> None:
    data = jpeg(slope(*shape))
    np.testing.assert_array_equal(fast(data), exact(data))


def test_the_limit_is_of_the_picture_as_sent() -> None:
    data = jpeg(slope(500, 300))
    images.open_picture(data, 500 * 300, AT_LEAST)
    with pytest.raises(InputError, match="500 x 300 = 150000 pixels, over the limit"):
        images.open_picture(data, 500 * 300 - 1, AT_LEAST)


def is_refused(data: bytes, at_least: int | None) -> bool:
    try:
        images.open_picture(data, LIMIT, at_least)
    except InputError:
        return True
    return False


@pytest.mark.parametrize("progressive", [False, True])
def test_truncated_jpegs_are_refused_wherever_they_are_cut(progressive: bool) -> None:
    data = jpeg(slope(500, 300), progressive=progressive)
    cuts = [data[: int(cut)] for cut in np.linspace(1, len(data), 60)]
    refused = [is_refused(cut, AT_LEAST) for cut in cuts]
    assert refused == [is_refused(cut, None) for cut in cuts]
    assert refused.count(True) > 50


@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_damaged_jpegs_are_refused_as_at_full_size(damage: list[tuple[float, int]]) -> None:
    data = bytearray(DAMAGEABLE)
    for place, value in damage:
        data[int(place * len(data))] = value
    assert is_refused(bytes(data), AT_LEAST) == is_refused(bytes(data), None)


DAMAGEABLE = jpeg(slope(300, 200))

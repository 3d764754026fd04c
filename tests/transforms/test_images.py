"""Decoding and cropping, against plain Pillow."""

import hashlib
import io
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from transforms import InputError, images, pillow
from transforms.resample import Interpolation

LIMIT = 2_000_000
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F", "HSV", "LAB")


def pattern(width: int = 53, height: int = 37) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * x + y * 7, x * y, x * 31 + y * y * 3], -1).astype(np.uint8))


def pattern_in(mode: str) -> Image.Image:
    rgb = pattern()
    match mode:
        case "I;16":
            return Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
        case "PA":
            return rgb.convert("P").convert("PA")
        case "LAB":
            profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
            lab = ImageCms.profileToProfile(rgb, *profiles, outputMode="LAB")
            assert lab is not None
            return lab
        case _:
            return rgb.convert(mode)


def encode(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def every_encoding() -> Iterator[tuple[str, bytes]]:
    """All modes in all formats that Pillow both writes and reads."""
    for name in sorted(Image.SAVE.keys() & set(pillow.FORMATS) | {"MPO"}):
        for mode in MODES:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    yield f"{name}-{mode}", encode(pattern_in(mode), name)
                except (OSError, ValueError, KeyError, TypeError):
                    continue  # this format has no such mode


ENCODED = dict(every_encoding())
YCBCR = ENCODED.pop("TIFF-YCbCr")
assert len(ENCODED) > 140, "modes or formats are missing"
ONE_OF_EACH = {key.partition("-")[0]: key for key in reversed(ENCODED)} | {
    "JPEG": "JPEG-RGB",
    "TIFF": "TIFF-RGB",
}


def by_pillow(data: bytes) -> NDArray[np.uint8]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def png(width: int, height: int) -> bytes:
    """A PNG whose header announces a size, with next to no pixels behind it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


def fault(data: bytes, max_pixels: int = LIMIT) -> str:
    with pytest.raises(InputError) as caught:
        images.decode(data, max_pixels)
    return str(caught.value)


class TestDecode:
    @pytest.mark.parametrize("key", ENCODED)
    def test_every_mode_in_every_format_is_as_pillow_converts_it(self, key: str) -> None:
        pixels = images.decode(ENCODED[key], LIMIT)
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, by_pillow(ENCODED[key]))

    def test_alpha_is_dropped_and_not_blended(self) -> None:
        data = encode(Image.new("RGBA", (2, 2), (10, 20, 30, 0)), "PNG")
        assert images.decode(data, LIMIT)[0, 0].tolist() == [10, 20, 30]

    @pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF"])
    def test_exif_orientation_is_ignored(self, name: str) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # turn by 90 degrees
        turned, plain = encode(pattern(), name, exif=exif), encode(pattern(), name)
        assert Image.open(io.BytesIO(turned)).getexif()[0x0112] == 6
        np.testing.assert_array_equal(images.decode(turned, LIMIT), images.decode(plain, LIMIT))

    def test_the_orientation_tag_of_tiff_is_applied_as_pillow_does(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        assert images.decode(encode(pattern(53, 37), "TIFF", exif=exif), LIMIT).shape == (53, 37, 3)

    @pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "TIFF", "AVIF", "MPO"])
    def test_of_an_animation_the_first_frame_counts(self, name: str) -> None:
        frames = [Image.new("RGB", (64, 48), color) for color in ("red", "lime", "blue")]
        data = encode(frames[0], name, save_all=True, append_images=frames[1:])
        assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 3
        pixels = images.decode(data, LIMIT)
        assert np.abs(pixels.astype(int) - [255, 0, 0]).max() <= 3


class TestFaults:
    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (b"", "empty"),
            (b"a", "not a picture"),
            (b"hello, world" * 20, "not a picture"),
            (b"<svg></svg>", "not a picture"),
            (b"%PDF-1.7\n", "not a picture"),
            (encode(pattern(), "EPS"), "EPS"),
            (b"SIMPLE  =                    T".ljust(2880), "FITS files are not read"),
            (png(60_000, 60_000), f"3600000000 pixels, over the limit of {LIMIT}"),
        ],
    )
    def test_the_fault_is_said(self, data: bytes, said: str) -> None:
        assert said in fault(data)

    def test_what_the_pillow_of_immichs_releases_reads_otherwise_is_not_read(self) -> None:
        """Pillow 12 finds the one truncated, and makes other pixels of the other."""
        assert "TIFF of YCbCr" in fault(YCBCR)
        header = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 4, 2, 4, 0, 0, 16, 0)  # of 4 bits, in run lengths
        body = header + bytes(64) + b"\2\x10\0\1"
        assert "bitmap of 16 colours" in fault(
            struct.pack("<2sIHHI", b"BM", 14 + len(body), 0, 0, 118) + body
        )

    @pytest.mark.parametrize("key", [key for key in ONE_OF_EACH.values() if not key.startswith("PCX")])
    def test_a_truncated_picture_is_refused_or_complete(self, key: str) -> None:
        """PCX keeps its palette behind the pixels: without it, it is a whole gray picture, to Pillow too."""
        data, refused = ENCODED[key], 0
        whole = images.decode(data, LIMIT)
        for cut in np.linspace(1, len(data) - 1, 25).astype(int):
            try:
                pixels = images.decode(data[:cut], LIMIT)
            except InputError:
                refused += 1
            else:
                np.testing.assert_array_equal(pixels, whole)
        assert refused > 10

    def test_iptc_which_opens_what_it_holds_with_any_plugin_is_refused(self) -> None:
        data = iptc(encode(pattern().convert("L"), "JPEG"))
        assert by_pillow(data).shape == (37, 53, 3)
        assert "not a picture" in fault(data)

    @pytest.mark.parametrize("key", ONE_OF_EACH.values())
    def test_the_limit_is_exact_in_every_format(self, key: str) -> None:
        height, width, _ = images.decode(ENCODED[key], LIMIT).shape
        images.decode(ENCODED[key], width * height)
        assert "over the limit" in fault(ENCODED[key], width * height - 1)

    def test_a_huge_picture_inside_a_small_icon_is_refused_before_it_is_decoded(self) -> None:
        inner = png(60_000, 60_000)
        icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inner), 22) + inner
        assert "3600000000" in fault(icon)

    @given(st.binary(max_size=300))
    @settings(max_examples=200, deadline=None)
    def test_random_bytes_raise_nothing_else(self, data: bytes) -> None:
        fault(data)

    @given(st.sampled_from(sorted(ENCODED)), st.data())
    @settings(max_examples=300, deadline=None)
    def test_damaged_files_raise_nothing_else(self, key: str, data: st.DataObject) -> None:
        damaged = bytearray(ENCODED[key])
        near_header = st.integers(0, min(200, len(damaged) - 1))
        anywhere = st.integers(0, len(damaged) - 1)
        for at in data.draw(st.lists(near_header | anywhere, min_size=1, max_size=6)):
            damaged[at] = data.draw(st.integers(0, 255))
        try:
            images.decode(bytes(damaged), LIMIT)
        except InputError as error:
            assert str(error)


class TestSideEffects:
    def test_warnings_of_pillow_stay_inside(self) -> None:
        palette = pattern().convert("P")
        palette.info["transparency"] = bytes(range(256))
        data = encode(palette, "PNG")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(UserWarning, match="Transparency"):
                Image.open(io.BytesIO(data)).convert("RGB")
            images.decode(data, LIMIT)

    def test_no_file_is_opened_and_no_program_started(self) -> None:
        images.decode(ENCODED["TIFF-RGB"], LIMIT)
        eps = encode(pattern(), "EPS")
        with audited("open", "subprocess.Popen", "os.posix_spawn", "os.fork") as events:
            for key in ONE_OF_EACH.values():
                images.decode(ENCODED[key], LIMIT)
            fault(eps)
        assert events == []


_audit: list[tuple[frozenset[str], list[str]]] = []  # audit hooks cannot be removed: one, told when to listen


def _listen(event: str, args: tuple[object, ...]) -> None:
    for wanted, seen in _audit:
        if event in wanted:
            seen.append(f"{event} {args[:1]}")


sys.addaudithook(_listen)


@contextmanager
def audited(*names: str) -> Iterator[list[str]]:
    seen: list[str] = []
    _audit.append((frozenset(names), seen))
    try:
        yield seen
    finally:
        _audit.pop()


def iptc(body: bytes) -> bytes:
    """An IPTC record of a gray picture of 53 x 37 around another file."""

    def field(number: int, value: bytes) -> bytes:
        return bytes([0x1C, 3, number]) + struct.pack(">H", len(value)) + value

    header = field(60, b"\x01\x00") + field(20, b"\0\x35") + field(30, b"\0\x25") + field(120, b"\x05")
    return header + b"\x1c\x08\x0a\x84\0" + struct.pack(">I", len(body)) + body


def crop_directly(image: Image.Image, size: int, resampling: Image.Resampling) -> NDArray[np.uint8]:
    """Resize and crop in Pillow's own words."""
    w, h = image.size
    to = (size, int((h / w) * size)) if w < h else (int((w / h) * size), size)
    left, top = int(to[0] / 2 - size / 2), int(to[1] / 2 - size / 2)
    return np.asarray(image.resize(to, resampling).crop((left, top, left + size, top + size)))


class TestClipPixels:
    SIZES = (
        (1, 1),
        (31, 31),
        (33, 40),
        (53, 37),
        (224, 224),
        (225, 224),
        (451, 300),
        (300, 451),
        (1440, 1080),
        (640, 31),
    )

    @pytest.mark.parametrize("interpolation", list(Interpolation))
    @pytest.mark.parametrize("shape", SIZES)
    def test_crop_equals_pillows_bit_for_bit(
        self, shape: tuple[int, int], interpolation: Interpolation
    ) -> None:
        image = pattern(*shape)
        for size in (32, 224):
            pixels = images.clip_pixels(np.asarray(image), size, interpolation=interpolation)
            np.testing.assert_array_equal(
                pixels, crop_directly(image, size, Image.Resampling[interpolation.name])
            )

    def test_tall_pictures_are_as_pillow_had_them_before_version_13(self) -> None:
        """The digest was made with Pillow 11.3.0 and 12.2.0."""
        pixels = images.clip_pixels(np.asarray(pattern(200, 450)), 32)
        assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == "1aadaef43ffd243f"

    @pytest.mark.parametrize("shape", [(53, 37), (37, 53), (640, 480), (10, 10)])
    def test_squash_keeps_the_whole_picture(self, shape: tuple[int, int]) -> None:
        image = pattern(*shape)
        expected = np.asarray(image.resize((64, 64), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(
            images.clip_pixels(np.asarray(image), 64, resize_mode="squash"), expected
        )

    @pytest.mark.parametrize("options", [{"resize_mode": "longest"}, {"interpolation": "random"}])
    def test_unknown_ways_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"longest|random"):
            images.clip_pixels(np.asarray(pattern()), 32, **options)

    @pytest.mark.parametrize("shape", [(1, 3000), (4_000_000, 1), (1, 2_000_000)])
    @pytest.mark.parametrize("resize_mode", list(images.ResizeMode))
    def test_a_thread_of_a_picture_needs_no_room(self, shape: tuple[int, int], resize_mode: str) -> None:
        """In full these would be up to 200 gigapixels."""
        thread = np.full((*shape, 3), [0, 128, 128], np.uint8)
        pixels = images.clip_pixels(thread, 224, resize_mode=resize_mode)
        assert pixels.shape == (224, 224, 3)
        assert (pixels == [0, 128, 128]).all()

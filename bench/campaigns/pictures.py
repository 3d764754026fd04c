"""Photos in the forms in which they come: every format that is read, modes, sizes; and broken ones."""

import io
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "page.png")
"""Of those that the package scikit-image carries."""
TURNED = Image.Exif()
TURNED[0x0112] = 6  # the orientation: stored lying on its side

FORMS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "jpeg": ("RGB", "JPEG", {"quality": 80}),
    "jpeg, progressive": ("RGB", "JPEG", {"progressive": True}),
    "jpeg, 4:4:4": ("RGB", "JPEG", {"subsampling": 0}),
    "jpeg, gray": ("L", "JPEG", {}),
    "jpeg, CMYK": ("CMYK", "JPEG", {}),
    "jpeg, turned": ("RGB", "JPEG", {"exif": TURNED}),
    "png": ("RGB", "PNG", {}),
    "png, alpha": ("RGBA", "PNG", {}),
    "png, gray and alpha": ("LA", "PNG", {}),
    "png, palette": ("P", "PNG", {}),
    "png, bilevel": ("1", "PNG", {}),
    "png, 16 bit gray": ("I;16", "PNG", {}),
    "png, animated": ("RGB", "PNG", {"save_all": True}),
    "webp": ("RGB", "WEBP", {}),
    "webp, lossless and alpha": ("RGBA", "WEBP", {"lossless": True, "method": 0}),
    "webp, animated": ("RGB", "WEBP", {"save_all": True}),
    "gif, animated": ("P", "GIF", {"save_all": True}),
    "tiff, pages": ("RGB", "TIFF", {"save_all": True}),
    "tiff, LZW": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "tiff, CMYK": ("CMYK", "TIFF", {}),
    "bmp": ("RGB", "BMP", {}),
    "avif": ("RGB", "AVIF", {"speed": 10}),
    "jpeg 2000": ("RGB", "JPEG2000", {}),
}
"""Mode, format and options of Pillow's."""
RGB_16_BIT = "png, 16 bit"
NAMES = (*FORMS, RGB_16_BIT)

Break = Callable[[bytes], bytes]
BROKEN: Mapping[str, Break] = {
    "cut off": lambda file: file[: len(file) * 2 // 3],
    "with a hole": lambda file: file[: len(file) // 2] + bytes(len(file) // 4) + file[len(file) * 3 // 4 :],
    "noise": lambda file: random.Random(file).randbytes(len(file)),  # noqa: S311
    "empty": lambda _: b"",
}


def encode(name: str, photo: Image.Image) -> bytes:
    """A photo in one of the forms."""
    if name == RGB_16_BIT:
        return bytes(cv2.imencode(".png", np.asarray(photo).astype(np.uint16) * 257)[1])
    mode, form, options = FORMS[name]
    image = photo.convert("I").point(lambda level: level * 257) if mode == "I;16" else photo
    if "save_all" in options:
        options = {**options, "append_images": [photo.rotate(180).convert(mode)]}
    image.convert(mode).save(file := io.BytesIO(), form, **options)
    return file.getvalue()


def collection(
    count: int, sides: Sequence[int], broken_every: int = 0, seed: int = 0
) -> Iterator[tuple[str, bytes]]:
    """Photos with their names: the forms in turn, a long side by chance; one of so many is broken, or none is."""
    chance = random.Random(seed)  # noqa: S311
    for number in range(count):
        form, photo, side = NAMES[number % len(NAMES)], _photo(chance.choice(PHOTOS)), chance.choice(sides)
        size = [max(1, round(length * side / max(photo.size))) for length in photo.size]
        name, file = (
            f"{number}: {form}, {size[0]} x {size[1]}",
            encode(form, photo.resize((size[0], size[1]))),
        )
        if broken_every and number % broken_every == 0:
            fault = chance.choice([*BROKEN])
            name, file = f"{name}, {fault}", BROKEN[fault](file)
        yield name, file


@cache
def _photo(name: str) -> Image.Image:
    package = find_spec("skimage")
    assert package and package.origin
    return Image.open(Path(package.origin).parent / "data" / name).convert("RGB")

"""Scaling and cutting by our kernels, against Pillow, on every level of processors that this one has."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.support.shared import SHARED
from transforms import InputError, kernels, perspective
from transforms.images import decode
from transforms.resample import Interpolation, Part, resize

Pixels = NDArray[np.uint8]
Pair = tuple[int, int]
Homography = NDArray[np.float32] | NDArray[np.float64]

GOLDEN = sorted((SHARED / "golden/images").glob("*"))


@pytest.fixture(params=kernels.FLAGS, autouse=True, scope="module")
def level(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param not in kernels.levels():
        pytest.skip(f"the processor is below x86-64-{request.param}")
    compiled = kernels.load(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "load", lambda: compiled)
        yield


def noise(size: Pair, seed: int = 0) -> Pixels:
    """Every fourth picture is of black and white alone: there filters overshoot most."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return pixels if seed % 4 else np.where(pixels > 127, 255, 0).astype(np.uint8)


def golden_images() -> Iterator[tuple[str, Pixels]]:
    for path in GOLDEN:
        with suppress(InputError):  # some are broken on purpose
            yield path.name, decode(path.read_bytes(), 50_000_000)


def scaled_by_pillow(image: Image.Image, size: Pair, interpolation: Interpolation) -> Pixels:
    """Two calls, so that Pillow 13 keeps the order that it had before."""
    resampling = Image.Resampling[interpolation.name]
    return np.asarray(image.resize((size[0], image.height), resampling).resize(size, resampling))


def seen_by_pillow(pixels: Pixels, size: Pair, homography: Homography) -> Pixels:
    way, filter_ = Image.Transform.PERSPECTIVE, Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(pixels).transform(size, way, homography.tolist(), filter_))


def sizes(most: int) -> st.SearchStrategy[Pair]:
    """Sides of one pixel and a few, too, and of lengths about a block of sixteen."""
    side = st.integers(1, 35) | st.integers(1, most)
    return st.tuples(side, side)


class TestResize:
    @pytest.mark.skipif(not GOLDEN, reason=f"no golden pictures: {SHARED} is absent")
    @pytest.mark.parametrize(
        ("size", "interpolation"), [((298, 224), Interpolation.BICUBIC), ((992, 736), Interpolation.LANCZOS)]
    )
    def test_golden_pictures_are_scaled_as_pillow_does(
        self, size: Pair, interpolation: Interpolation
    ) -> None:
        images = list(golden_images())
        assert len(images) > 35
        for name, pixels in images:
            expected = scaled_by_pillow(Image.fromarray(pixels), size, interpolation)
            np.testing.assert_array_equal(resize(pixels, size, interpolation), expected, name)

    @given(sizes(700), sizes(400), st.sampled_from(Interpolation), st.integers(0, 999))
    @settings(max_examples=200, deadline=None)
    def test_any_size_is_scaled_to_any_size_as_pillow_does(
        self, source: Pair, target: Pair, interpolation: Interpolation, seed: int
    ) -> None:
        pixels = noise(source, seed)
        expected = scaled_by_pillow(Image.fromarray(pixels), target, interpolation)
        np.testing.assert_array_equal(resize(pixels, target, interpolation), expected)

    @pytest.mark.parametrize("interpolation", Interpolation)
    @pytest.mark.parametrize("source", [(3000, 2), (2, 3000), (4100, 30), (1200, 1600)])
    def test_long_pictures_are_scaled_in_stretches(self, source: Pair, interpolation: Interpolation) -> None:
        pixels = noise(source, 1)
        expected = scaled_by_pillow(Image.fromarray(pixels), (40, 30), interpolation)
        np.testing.assert_array_equal(resize(pixels, (40, 30), interpolation), expected)

    @given(sizes(300), sizes(200), st.sampled_from(Interpolation), st.data())
    @settings(max_examples=100, deadline=None)
    def test_a_part_is_the_same_as_in_the_whole(
        self, source: Pair, target: Pair, interpolation: Interpolation, data: st.DataObject
    ) -> None:
        left, top = (data.draw(st.integers(0, side - 1)) for side in target)
        width, height = (
            data.draw(st.integers(1, target[0] - left)),
            data.draw(st.integers(1, target[1] - top)),
        )
        pixels = noise(source, 1)
        whole = resize(pixels, target, interpolation)
        part = resize(pixels, target, interpolation, Part(top, left, height, width))
        np.testing.assert_array_equal(part, whole[top : top + height, left : left + width])

    @pytest.mark.parametrize(
        "part", [Part(0, 0, 0, 5), Part(-1, 0, 5, 5), Part(6, 0, 5, 5), Part(0, 6, 5, 5), Part(0, 0, 11, 1)]
    )
    def test_a_part_beyond_the_picture_is_refused(self, part: Part) -> None:
        with pytest.raises(ValueError, match="not within"):
            resize(noise((20, 20)), (10, 10), Interpolation.BICUBIC, part)


class TestPerspective:
    @given(sizes(300), sizes(150), st.integers(0, 999))
    @settings(max_examples=200, deadline=None)
    def test_pictures_are_seen_as_pillow_sees_them(self, source: Pair, target: Pair, seed: int) -> None:
        spread = np.array([0.5, 0.5, 50, 0.5, 0.5, 50, 1e-3, 1e-3])
        centre = np.array([1, 0, source[0] / 4, 0, 1, source[1] / 4, 0, 0])
        homography = np.random.default_rng(seed).normal(centre, spread).astype(np.float32)
        pixels = noise(source, seed)
        seen = perspective.transform(pixels, target, homography)
        np.testing.assert_array_equal(seen, seen_by_pillow(pixels, target, homography))

    @pytest.mark.parametrize("shift", [0, 1e-6, -1e-6, 0.2, 0.5])
    def test_levels_on_the_brink_are_truncated_as_pillow_does(self, shift: float) -> None:
        """Of a level box some sums are whole but for the last bit of a double, which then decides on the level."""
        pixels = noise((300, 200), 1)
        for homography in ([1, 0, 3 + shift, 0, 1, -2, 0, 0], [1, 0, -2, 0, 1, 3 + shift, 0, 0]):
            seen = perspective.transform(pixels, (310, 210), np.array(homography))
            np.testing.assert_array_equal(seen, seen_by_pillow(pixels, (310, 210), np.array(homography)))

    def test_a_horizon_in_the_result_is_no_fault(self) -> None:
        homography = np.array(
            [1, 0, 0, 0, 1, 0, -1 / 10.5, 0], np.float32
        )  # a division by zero at the tenth pixel
        pixels = noise((64, 64), 1)
        seen = perspective.transform(pixels, (20, 3), homography)
        np.testing.assert_array_equal(seen, seen_by_pillow(pixels, (20, 3), homography))


class TestBoth:
    def test_pictures_that_do_not_lie_row_after_row_are_taken_too(self) -> None:
        standing = noise((90, 50), 1).transpose(1, 0, 2)[::-1]
        lying = np.ascontiguousarray(standing)
        a, b = (resize(pixels, (20, 30), Interpolation.LANCZOS) for pixels in (standing, lying))
        np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (5, 5), (5, 5, 4)])
    def test_what_is_no_rgb_picture_is_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="not an RGB picture"):
            resize(np.zeros(shape, np.uint8), (4, 4), Interpolation.BICUBIC)
        with pytest.raises(ValueError, match="not an RGB picture"):
            perspective.transform(np.zeros(shape, np.uint8), (4, 4), np.zeros(8, np.float32))

    def test_threads_do_not_disturb_each_other(self) -> None:
        pictures = [noise((400 + seed, 300), seed) for seed in range(16)]
        alone = [resize(pixels, (224, 224), Interpolation.BICUBIC) for pixels in pictures]
        with ThreadPoolExecutor(8) as pool:
            together = pool.map(lambda pixels: resize(pixels, (224, 224), Interpolation.BICUBIC), pictures)
            np.testing.assert_array_equal(alone, list(together))

"""face_preprocess and face_postprocess: a picture's faces are its own request's, whatever comes with it."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from backends.pictures import Pictures
from bench.pb_utils import InferenceRequest, TritonError
from tests.support.pictures import noise, png
from tests.support.standins import HEADS
from tests.support.step import Step, arrays, committed, fault, texts
from transforms import faces

SIZE = 640


class TestPreprocess:
    @pytest.fixture
    def step(self, load: Callable[..., Step]) -> Step:
        return load(committed("buffalo_l.detection.preprocess"))

    def test_a_picture_is_fitted_and_kept_for_the_crops(self, step: Step) -> None:
        sent = [png(40, 60, 1), png(50, 30, 2)]
        first, second = step.run(*(InferenceRequest(image=texts(data)) for data in sent))
        for answer, pixels in ((first, noise(40, 60, 1)), (second, noise(50, 30, 2))):
            canvas, scale = faces.letterbox(pixels, SIZE)
            found = arrays(answer)
            np.testing.assert_array_equal(found["pixels"], canvas[None])
            np.testing.assert_array_equal(Pictures().fetch(found["picture"][0]), pixels)
            np.testing.assert_array_equal(found["scale"], np.array([[scale]], np.float32))
            assert found["image_size"].tolist() == [list(pixels.shape[:2])]


def heads(*scores: float) -> dict[str, NDArray[np.float32]]:
    """A detector's answer with faces side by side, 80 px wide, of these scores, at the finest stride."""
    found = {
        name: np.zeros((1, 2 * (SIZE // stride) ** 2, width), np.float32)
        for stride, names in HEADS.items()
        for name, width in zip(names, (1, 4, 10), strict=True)
    }
    for number, score in enumerate(scores):
        anchor = 2 * (10 * (SIZE // 8) + 6 + 12 * number)  # centre (48 + 96 n, 80)
        found["448"][0, anchor] = score
        found["451"][0, anchor] = 5  # strides from the centre to each side
        found["454"][0, anchor] = [-2, -2, 2, -2, 0, 0, -1.5, 2, 1.5, 2]
    return found


def request(*scores: float, min_score: float = 0.5, scale: float = 1.0, seed: int = 0) -> InferenceRequest:
    return InferenceRequest(
        scale=np.array([[scale]], np.float32),
        min_score=np.array([[min_score]], np.float32),
        picture=Pictures().leave(noise(200, 500 + seed, seed))[None],
        cancelled=False,
        **heads(*scores),
    )


class TestPostprocess:
    @pytest.fixture
    def step(self, load: Callable[..., Step]) -> Step:
        return load(committed("buffalo_l.detection.postprocess"))

    def test_each_request_gets_the_faces_of_its_own_picture(self, step: Step) -> None:
        answers = step.run(request(0.6, 0.9, seed=1), request(seed=2), request(0.7, seed=3))
        one, none, other = (arrays(answer) for answer in answers)
        np.testing.assert_allclose(one["scores"], [[0.9, 0.6]], rtol=1e-6)
        assert one["boxes"].tolist() == [[[104, 40, 184, 120], [8, 40, 88, 120]]]
        assert one["landmarks"][0, 1].tolist() == [[32, 64], [64, 64], [48, 80], [36, 96], [60, 96]]
        np.testing.assert_array_equal(one["crops"][0], faces.align(noise(200, 501, 1), one["landmarks"][0]))
        assert {name: array.shape for name, array in none.items()} == {
            "boxes": (1, 0, 4),
            "scores": (1, 0),
            "landmarks": (1, 0, 5, 2),
            "crops": (1, 0, 112, 112, 3),
        }
        np.testing.assert_array_equal(
            other["crops"][0], faces.align(noise(200, 503, 3), other["landmarks"][0])
        )

    def test_requests_with_different_thresholds_do_not_influence_each_other(self, step: Step) -> None:
        strict, lax, middle = step.run(
            request(0.6, 0.9, min_score=0.95),
            request(0.6, 0.9, min_score=0.1),
            request(0.6, 0.9, min_score=0.7),
        )
        counts = [arrays(answer)["scores"].shape[1] for answer in (strict, lax, middle)]
        assert counts == [0, 2, 1]

    def test_an_answer_of_the_detector_that_is_not_finite_fails_only_its_own_request(
        self, step: Step
    ) -> None:
        good, bad, another = step.run(request(0.9), request(float("nan")), request(0.8))
        assert fault(bad)[0] == TritonError.INTERNAL, "the picture is not to blame"
        assert "not finite" in fault(bad)[1]
        assert arrays(good)["scores"].shape == arrays(another)["scores"].shape == (1, 1)

    def test_several_pictures_in_one_request_are_refused(self, step: Step) -> None:
        several = InferenceRequest(
            scale=np.ones((2, 1), np.float32),
            min_score=np.ones((2, 1), np.float32),
            picture=np.repeat(Pictures().leave(noise(50, 50, 1))[None], 2, axis=0),
            cancelled=False,
            **{name: np.repeat(head, 2, axis=0) for name, head in heads(0.9).items()},
        )
        refused, good = step.run(several, request(0.9))
        assert fault(refused)[0] == TritonError.INVALID_ARG
        assert arrays(good)["scores"].shape == (1, 1)

    def test_a_picture_that_is_gone_is_asked_for_again(self, step: Step) -> None:
        once = request(0.9)
        first, again, other = step.run(once, once, request(0.8))
        assert arrays(first)["scores"].shape == arrays(other)["scores"].shape == (1, 1)
        assert fault(again)[0] == TritonError.UNAVAILABLE

    def test_a_detector_that_is_not_batched_is_served_as_well(self, load: Callable[..., Step]) -> None:
        """Its heads come without a batch axis of their own."""
        config = committed("buffalo_l.detection.postprocess")
        config.max_batch_size = 0
        for tensor in (*config.input, *config.output):
            if not tensor.name.isdigit():
                tensor.dims.insert(0, 1)
        flat = {name: head[0] for name, head in heads(0.9).items()}
        inputs = {tensor.name(): tensor.as_numpy() for tensor in request(0.9).inputs()} | flat
        (answer,) = load(config).run(InferenceRequest(**inputs))
        assert arrays(answer)["boxes"].tolist() == [[[8, 40, 88, 120]]]

"""What every step owes its requests, shown by those that take pictures: each is answered by itself, in order."""

from collections.abc import Callable

import numpy as np
import pytest

from bench.pb_utils import InferenceRequest, TritonError
from tests.support.pictures import png
from tests.support.step import Step, arrays, committed, fault, texts

CLIP, FACES, OCR = (
    "ViT-B-32__openai.visual.preprocess",
    "buffalo_l.detection.preprocess",
    "PP-OCRv5_mobile.detection.preprocess",
)

pytestmark = pytest.mark.parametrize("model", [CLIP, FACES, OCR])


@pytest.fixture
def step(load: Callable[..., Step], model: str) -> Step:
    return load(committed(model, max_pixels="10000"))


def request(model: str, *pictures: bytes, cancelled: bool = False) -> InferenceRequest:
    asked = {"max_resolution": np.full((len(pictures), 1), 64, np.int32)} if model == OCR else {}
    return InferenceRequest(image=texts(*pictures), **asked, cancelled=cancelled)


def test_a_bad_request_fails_alone_and_a_cancelled_one_is_not_worked_on(step: Step, model: str) -> None:
    good = [png(100, 100, 1), png(50, 30, 2)]
    first, empty, other, cut, large, cancelled, second = step.run(
        request(model, good[0]),
        request(model, b""),
        request(model, b"no picture"),
        request(model, good[0][:-40]),
        request(model, png(101, 100)),
        request(model, b"no picture", cancelled=True),
        request(model, good[1]),
    )
    sizes = [arrays(answer)["image_size"].tolist() for answer in (first, second)]
    assert sizes == [[[100, 100]], [[50, 30]]]
    for bad, said in (
        (empty, "The picture is empty (0 bytes)."),
        (other, "This is not a picture in a known format."),
        (cut, "The picture is truncated or corrupt."),
        (large, "The picture has 10100 pixels, over the limit of 10000."),
    ):
        assert fault(bad) == (TritonError.INVALID_ARG, said)
    assert fault(cancelled)[0] == TritonError.CANCELLED


def test_many_requests_are_answered_in_their_order(step: Step, model: str) -> None:
    sent = [png(40 + number, 40, number) for number in range(16)]
    answers = step.run(*(request(model, data) for data in sent))
    alone = [step.run(request(model, data))[0] for data in sent]
    for together, one in zip(answers, alone, strict=True):
        np.testing.assert_array_equal(arrays(together)["pixels"], arrays(one)["pixels"])


def test_several_pictures_are_one_request_where_nothing_else_comes_of_them(step: Step, model: str) -> None:
    several, good = step.run(request(model, png(40, 50), png(50, 40)), request(model, png(40, 40)))
    if model == CLIP:
        assert arrays(several)["image_size"].tolist() == [[40, 50], [50, 40]]
    else:
        said = "image has 2 elements; send one picture a request"
        assert fault(several) == (TritonError.INVALID_ARG, said)
    assert arrays(good)["image_size"].tolist() == [[40, 40]]

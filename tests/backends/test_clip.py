"""clip_preprocess and clip_tokenize: each request by itself, however many come together."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.grpc.model_config_pb2 import TYPE_INT64

from bench.pb_utils import InferenceRequest, TritonError
from tests.support.families import openai_tokenizer
from tests.support.pictures import png
from tests.support.step import Step, arrays, committed, fault, texts
from transforms import images

SIZE = 16
LIMIT = 10_000


def seen(data: bytes, mode: str = "shortest", interpolation: str = "bicubic") -> NDArray[np.uint8]:
    """The pixels that the transforms make of a picture."""
    decoded = images.decode(data, LIMIT)
    return images.clip_pixels(decoded, SIZE, resize_mode=mode, interpolation=interpolation)


class TestPreprocess:
    @pytest.fixture
    def step(self, load: Callable[..., Step]) -> Step:
        model = "ViT-B-32__openai.visual.preprocess"
        config = committed(model, size=str(SIZE), max_pixels=str(LIMIT))
        config.output[0].dims[:] = [SIZE, SIZE, 3]
        return load(config)

    def test_a_request_may_hold_several_pictures(self, step: Step) -> None:
        sent = [png(20, 30, 1), png(33, 21, 2), png(16, 16, 3)]
        one, three = step.run(InferenceRequest(image=texts(sent[0])), InferenceRequest(image=texts(*sent)))
        np.testing.assert_array_equal(arrays(one)["pixels"], [seen(sent[0])])
        np.testing.assert_array_equal(arrays(three)["pixels"], [seen(data) for data in sent])
        assert arrays(three)["image_size"].tolist() == [[20, 30], [33, 21], [16, 16]]

    def test_resizing_is_as_configured(self, load: Callable[..., Step]) -> None:
        config = committed(
            "ViT-B-32__openai.visual.preprocess",
            size=str(SIZE),
            resize_mode="squash",
            interpolation="nearest",
        )
        config.output[0].dims[:] = [SIZE, SIZE, 3]
        data = png(20, 60)
        (answer,) = load(config).run(InferenceRequest(image=texts(data)))
        np.testing.assert_array_equal(arrays(answer)["pixels"][0], seen(data, "squash", "nearest"))
        assert (seen(data) != seen(data, "squash", "nearest")).any()


def request(text: bytes, language: bytes = b"") -> InferenceRequest:
    return InferenceRequest(text=texts(text), language=texts(language))


class TestTokenize:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "1").mkdir()
        (tmp_path / "1/tokenizer.json").write_text(openai_tokenizer().to_str())
        return tmp_path

    @pytest.fixture
    def step(self, load: Callable[..., Step], folder: Path) -> Step:
        return load(committed("ViT-B-32__openai.textual.tokenize"))

    def ids(self, text: str, length: int = 10) -> list[int]:
        """Ids of a text, with the marks at its ends and padding, by the tokenizer itself."""
        tokenizer = openai_tokenizer()
        ids: list[int] = tokenizer.encode(text).ids
        return ids + ids[-1:] * (length - len(ids))  # openai's pads with the end mark

    def test_texts_sent_together_get_their_own_tokens_in_order(self, step: Step) -> None:
        answers = step.run(request(b"a  dog"), request(b""), request("süß".encode()))
        found = [arrays(answer)["tokens"].tolist() for answer in answers]
        assert found == [[self.ids("a dog")], [self.ids("")], [self.ids("süß")]]

    @pytest.mark.parametrize(("characters", "length"), [(8, 10), (9, 20), (18, 20), (19, 40), (39, 77)])
    def test_a_text_is_padded_to_the_next_length_whatever_comes_with_it(
        self, step: Step, characters: int, length: int
    ) -> None:
        answer, *_ = step.run(request(b"x" * characters), request(b"x"), request(b"x" * 500))
        assert arrays(answer)["tokens"].tolist() == [self.ids("x" * characters, length)]

    def test_texts_of_one_request_are_as_long_as_the_longest(self, step: Step) -> None:
        (answer,) = step.run(InferenceRequest(text=texts(b"x", b"y" * 12), language=texts(b"", b"")))
        assert arrays(answer)["tokens"].tolist() == [self.ids("x", 20), self.ids("y" * 12, 20)]

    def test_without_buckets_every_text_has_the_full_length(
        self, load: Callable[..., Step], folder: Path
    ) -> None:
        config = committed("ViT-B-32__openai.textual.tokenize")
        del config.parameters["buckets"]
        (answer,) = load(config).run(request(b"x"))
        assert arrays(answer)["tokens"].tolist() == [self.ids("x", 77)]

    def test_a_text_that_is_not_utf_8_fails_only_its_own_request(self, step: Step) -> None:
        first, bad, second = step.run(request(b"a dog"), request(b"\xff\xfe"), request(b"two"))
        assert fault(bad) == (TritonError.INVALID_ARG, "The text is not UTF-8.")
        assert arrays(first)["tokens"].tolist() == [self.ids("a dog")]
        assert arrays(second)["tokens"].tolist() == [self.ids("two")]

    def test_ids_and_mask_of_64_bits_are_given_where_the_graph_takes_them(
        self, load: Callable[..., Step], folder: Path
    ) -> None:
        config = committed("ViT-B-32__openai.textual.tokenize")
        config.output[0].data_type = TYPE_INT64
        config.output.add(name="attention_mask", data_type=TYPE_INT64, dims=[-1])
        first, second = load(config).run(request(b"ab"), request(b""))
        assert arrays(first)["tokens"].tolist() == [self.ids("ab")]
        assert arrays(first)["attention_mask"].sum(axis=1).tolist() == [4]
        assert arrays(second)["attention_mask"].sum(axis=1).tolist() == [2]

    def test_cleaning_and_language_are_as_configured(self, load: Callable[..., Step], folder: Path) -> None:
        model = "ViT-B-32__openai.textual.tokenize"
        canonical = load(committed(model, canonicalize="true"))
        prefixed = load(committed(model, language_prefix="true"))
        both = [request(b"A dog!", b"de"), request(b"A dog!")]
        assert arrays(canonical.run(*both)[0])["tokens"].tolist() == [self.ids("a dog")]
        german, unknown = prefixed.run(*both)
        assert arrays(german)["tokens"].tolist() == [self.ids("deu_LatnA dog!", 20)]
        assert arrays(unknown)["tokens"].tolist() == [self.ids("A dog!")]

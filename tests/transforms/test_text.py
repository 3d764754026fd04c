"""Tokenising, against the tokenizers library."""

from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, processors

from transforms import InputError
from transforms.flores import WEBLATE_TO_FLORES, flores_code
from transforms.text import Tokenizer, clean

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "a", "red", "dog", "A", "deu_Latna", "eng_Latna", ",", "-", "ｅ"]


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A `tokenizer.json` that splits at white space and punctuation: one id a word, its place in `WORDS`."""
    tokenizer = tokenizers.Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r" |(?=[,-])"), "removed")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return path


class TestClean:
    @pytest.mark.parametrize(
        "text",
        ["a red dog", " a  red dog ", "a\tred\r\ndog\n", "a\u00a0red\u3000dog", "\u2003a red\x0bdog\x85"],
    )
    def test_white_space_of_any_kind_becomes_single_blanks(self, text: str) -> None:
        assert clean(text, canonicalize=False) == "a red dog"

    def test_without_canonicalisation_nothing_else_changes(self) -> None:
        assert clean("It's  A Dog, Größe!", canonicalize=False) == "It's A Dog, Größe!"

    def test_canonicalisation_removes_ascii_punctuation_and_case(self) -> None:
        assert clean("It's A Dog_1, “Größe”!", canonicalize=True) == "its a dog1 “größe”"

    def test_white_space_is_folded_before_punctuation_goes(self) -> None:
        assert clean("a - b", canonicalize=True) == "a  b"

    @given(st.text())
    def test_no_text_breaks_it(self, text: str) -> None:
        assert clean(text, canonicalize=False) == " ".join(text.split())
        clean(text, canonicalize=True)


class TestTokenizer:
    def test_texts_are_padded_at_the_end(self, words: Path) -> None:
        tokens = Tokenizer(words, pad_token="<pad>", context_length=6).encode(["a red dog", "dog", ""])
        assert tokens.ids.dtype == tokens.mask.dtype == np.int32
        assert tokens.ids.tolist() == [[1, 4, 5, 6, 2, 0], [1, 6, 2, 0, 0, 0], [1, 2, 0, 0, 0, 0]]
        assert tokens.mask.tolist() == [[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]]

    def test_long_texts_are_cut_and_keep_their_end_mark(self, words: Path) -> None:
        tokens = Tokenizer(words, pad_token="<pad>", context_length=5).encode(["a red dog a red dog"])
        assert tokens.ids.tolist() == [[1, 4, 5, 6, 2]]
        assert tokens.mask.tolist() == [[1, 1, 1, 1, 1]]

    def test_padding_written_in_the_file_does_not_count(self, words: Path) -> None:
        tokenizer = tokenizers.Tokenizer.from_file(str(words))
        tokenizer.enable_padding(direction="left", length=20, pad_id=3, pad_token="<unk>")
        tokenizer.enable_truncation(2)
        tokenizer.save(str(words))
        assert Tokenizer(words, pad_token="<pad>", context_length=4).encode(["a"]).ids.tolist() == [
            [1, 4, 2, 0]
        ]

    @pytest.mark.parametrize(
        ("language", "first"), [("de", "deu_Latna"), ("xx", "eng_Latna"), (None, "a"), ("", "a")]
    )
    def test_the_language_goes_before_the_text_without_a_blank(
        self, words: Path, language: str | None, first: str
    ) -> None:
        tokenizer = Tokenizer(words, pad_token="<pad>", context_length=4, language_prefix=True)
        assert tokenizer.encode(["a"], [language]).ids.tolist() == [[1, WORDS.index(first), 2, 0]]

    def test_half_a_surrogate_pair_is_the_clients_fault(self, words: Path) -> None:
        with pytest.raises(InputError, match="Unicode"):
            Tokenizer(words, pad_token="<pad>").encode(["\ud83d"])

    def test_a_file_that_is_no_tokenizer_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "tokenizer.json"
        path.write_text("{}")
        with pytest.raises(ValueError, match=r"tokenizer\.json is not a tokenizer"):
            Tokenizer(path, pad_token="<pad>")

    def test_an_unknown_pad_token_is_named(self, words: Path) -> None:
        with pytest.raises(ValueError, match="nonesuch"):
            Tokenizer(words, pad_token="nonesuch")


class TestFlores:
    @pytest.mark.parametrize(
        ("language", "code"),
        [
            ("de", "deu_Latn"),
            ("pt-BR", "por_Latn"),
            ("pt_BR", "por_Latn"),
            ("nb_NO", "nob_Latn"),
            ("sr-Cyrl", "srp_Cyrl"),
            ("zh-Hans", "zho_Hans"),
            ("zh_SIMPLIFIED", "zho_Hans"),
            ("zh-TW", "zho_Hant"),
            ("zh_Hant", "zho_Hant"),
            ("yue_Hant", "yue_Hant"),
            ("ZH", "zho_Hans"),
            ("de-AT", "deu_Latn"),
            *((unknown, "eng_Latn") for unknown in ("xx", "", "-", "xx-DE", "tlh")),
        ],
    )
    def test_a_code_is_found_whole_or_by_its_first_part_and_else_is_english(
        self, language: str, code: str
    ) -> None:
        assert flores_code(language) == code

    def test_every_code_has_the_form_of_flores_200(self) -> None:
        for key, code in WEBLATE_TO_FLORES.items():
            language, _, script = code.partition("_")
            assert key == key.lower().replace("_", "-")
            assert len(language) == 3
            assert language.islower()
            assert len(script) == 4
            assert script.istitle()

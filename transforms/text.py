"""Sentences to token ids, as the textual half of a CLIP model wants them."""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

from transforms import InputError
from transforms.flores import flores_code

_REMOVE_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Tokens:
    """Token ids of n texts, all of the same length.

    Attributes:
        ids: (n, length), int32, padded at the end.
        mask: (n, length), int32: 1 for a token, 0 for padding.
    """

    ids: NDArray[np.int32]
    mask: NDArray[np.int32]


class Tokenizer:
    """A model's `tokenizer.json`, with everything that happens to a text before and after it.

    May be called from several threads at once.
    """

    def __init__(
        self,
        path: Path,
        *,
        pad_token: str,
        context_length: int = 77,
        buckets: Sequence[int] = (),
        canonicalize: bool = False,
        language_prefix: bool = False,
    ) -> None:
        """Load a tokenizer.

        Args:
            path: of `tokenizer.json` (Hugging Face tokenizers).
            pad_token: `pad_token` of `tokenizer_config.json`.
            context_length: longer texts are cut to this number of ids, shorter ones padded to it.
            buckets: smaller numbers; texts are padded to the smallest one that holds the longest of them.
            canonicalize: remove ASCII punctuation and lower-case (SigLIP).
            language_prefix: put the FLORES-200 code of the language before the text (nllb).

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not a tokenizer, or does not know `pad_token`.
        """
        self._tokenizer = _load(path)
        pad_id = self._tokenizer.token_to_id(pad_token)
        if pad_id is None:
            raise ValueError(f"{path} has no token {pad_token!r} to pad with")
        self._tokenizer.enable_padding(length=context_length, pad_token=pad_token, pad_id=pad_id)
        self._tokenizer.enable_truncation(max_length=context_length)
        self._lengths = sorted((*buckets, context_length))
        self._canonicalize = canonicalize
        self._language_prefix = language_prefix

    def encode(self, texts: Sequence[str], languages: Sequence[str | None] | None = None) -> Tokens:
        """Turn texts into token ids.

        Args:
            texts: n texts.
            languages: n Weblate codes, None or "" where unknown; used by models with a language prefix.

        Raises:
            InputError: a text is not valid Unicode.
        """
        languages = languages if languages is not None else [None] * len(texts)
        rows = [self._encode(text, language) for text, language in zip(texts, languages, strict=True)]
        longest = max((sum(row.attention_mask) for row in rows), default=0)
        length = next(length for length in self._lengths if length >= longest)
        return Tokens(
            ids=np.array([row.ids[:length] for row in rows], dtype=np.int32),
            mask=np.array([row.attention_mask[:length] for row in rows], dtype=np.int32),
        )

    def _encode(self, text: str, language: str | None) -> tokenizers.Encoding:
        text = clean(text, canonicalize=self._canonicalize)
        if self._language_prefix and language:
            text = f"{flores_code(language)}{text}"
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError("The text is not valid Unicode: it has half of a surrogate pair.") from error
        return self._tokenizer.encode(text)


def clean(text: str, *, canonicalize: bool) -> str:
    """Fold white space to single blanks; with `canonicalize` also drop ASCII punctuation and lower-case.

    In this order, so that "a - b" becomes "a  b" with two blanks, which some tokenizers tell from one.
    """
    text = " ".join(text.split())
    return text.translate(_REMOVE_PUNCTUATION).lower() if canonicalize else text


def _load(path: Path) -> tokenizers.Tokenizer:
    data = path.read_text(encoding="utf-8")
    try:
        return tokenizers.Tokenizer.from_str(data)
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"{path} is not a tokenizer: {error}") from error

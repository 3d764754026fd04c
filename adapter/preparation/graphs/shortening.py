"""Texts no longer than they are: for graphs to which it makes no difference what stands behind a text's end."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adapter.preparation.graphs.file import read, write
from adapter.preparation.graphs.lengths import make_length_dynamic
from adapter.preparation.graphs.proof import Sample, Session, require_same

LENGTHS = (10, 20, 40)
"""What texts are padded to, besides the full length: each holds twice as many tokens as the one before.

Measured with the sizes of ViT-B/32 on one core: 11 ms for its weights and 0.9 ms for each token, so that 10 tokens take
less than a quarter of the time of 77. Texts of a batch have one length: with more lengths, fewer would meet.
"""


@dataclass(frozen=True)
class Text:
    """A text as a graph takes it at full length.

    Attributes:
        feed: an array (length,) for each input.
        count: its tokens, with the marks at both ends; what follows is padding.
    """

    feed: Sample
    count: int


@dataclass(frozen=True)
class Shortening:
    """What a graph is proven with to take short texts.

    Attributes:
        texts: some that fill each of the lengths, the full one last.
        ids: the input that takes token ids.
    """

    texts: Sequence[Text]
    ids: str


def lengths_up_to(full: int) -> tuple[int, ...]:
    """What texts are padded to, ascending, where a graph was exported for `full` tokens."""
    return (*(length for length in LENGTHS if length < full), full)


def shorten(source: Path, rewritten: Path, shortening: Shortening, *, batched: bool) -> None:
    """Rewrites a graph so that it takes texts of any length up to the full one.

    First its source is shown to give the same vectors whatever tokens take the place of the padding; then the result,
    at each of `lengths_up_to` the full one, to give those of the source at full length.

    Args:
        source: the graph as it was published.
        rewritten: what was made of it, which takes texts of full length.
        batched: whether it takes batches.

    Raises:
        OSError: a file cannot be read or written.
        ProofFailed: why it stays as it is.
    """
    texts = shortening.texts
    full = len(texts[-1].feed[shortening.ids])
    published = Session(source)
    answers = published.alone([text.feed for text in texts])
    require_same(
        answers, published.alone(_with_other_ends(shortening)), "with other tokens behind the text's end"
    )
    shortened = rewritten.with_name(f"{rewritten.name}.shortened")
    try:
        write(make_length_dynamic(read(rewritten), full), shortened, rewritten)
        session = Session(shortened)
        for length in lengths_up_to(full):
            fitting = [index for index, text in enumerate(texts) if text.count <= length]
            cut = [{name: row[:length] for name, row in texts[index].feed.items()} for index in fitting]
            expected = [answers[index] for index in fitting]
            require_same(expected, session.alone(cut), f"at {length} tokens, alone")
            if batched:
                require_same(expected, session.together(cut), f"at {length} tokens, in a batch of {len(cut)}")
        shortened.replace(rewritten)
    finally:
        shortened.unlink(missing_ok=True)


def _with_other_ends(shortening: Shortening) -> list[Sample]:
    """The texts with words of the longest one in the place of their padding; masks stay."""
    samples: list[Sample] = []
    longest = shortening.texts[-1]
    words = longest.feed[shortening.ids][1 : longest.count - 1]  # no marks: by them a graph may find the end
    for text in shortening.texts:
        ids = np.resize(words, text.feed[shortening.ids].shape)
        ids[: text.count] = text.feed[shortening.ids][: text.count]
        samples.append({**text.feed, shortening.ids: ids})
    return samples

"""What lines of text say, by the recogniser's answer.

classes, certainties ─[read_steps]→ texts, scores
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BLANK = ""


def read_characters(text: str, classes: int | None = None) -> tuple[str, ...]:
    """The character of each class of a recogniser: the blank first, and a space last if there is a class for it.

    Args:
        text: the characters, one a line: the graph's metadata key `character`, or a `charset.txt`.
        classes: how many the graph tells apart, where that is known.

    Returns:
        As many strings as classes.

    Raises:
        ValueError: the characters do not account for the classes.
    """
    listed = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []
    for characters in ((BLANK, *listed, " "), (BLANK, *listed)):
        if listed and classes in (None, len(characters)):
            return characters
    raise ValueError(
        f"the recogniser has {'some' if classes is None else classes} classes, but {len(listed)} characters"
        f" (with blank and space: {len(listed) + 2})"
    )


def read_steps(
    classes: NDArray[np.int64], certainties: NDArray[np.float32], characters: Sequence[str]
) -> tuple[list[str], NDArray[np.float32]]:
    """Turn steps into texts: repeats merged, then blanks dropped.

    Args:
        classes: int (n, steps), the likeliest class of each step; 0 is the blank.
        certainties: float32 (n, steps), 0 to 1, its probability.
        characters: one for each class, from `read_characters`.

    Returns:
        n texts, and float32 (n,): the mean probability of each text's characters; 0 for an empty text.

    Raises:
        ValueError: a probability is not finite.

    Source: Immich 3.3; Graves et al., "Connectionist Temporal Classification" (2006).
    """
    if not np.isfinite(certainties).all():
        raise ValueError("the text recogniser's probabilities are not finite")
    is_new = np.diff(classes, axis=1, prepend=0) != 0  # a blank at the start is no character either
    kept = is_new & (classes != 0)
    texts = ["".join(characters[i] for i in row[keep]) for row, keep in zip(classes, kept, strict=True)]
    scores = [row[keep].mean() if keep.any() else 0 for row, keep in zip(certainties, kept, strict=True)]
    return texts, np.array(scores, np.float32)

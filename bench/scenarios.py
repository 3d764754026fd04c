"""The loads that there are, and which of them are run."""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from bench.results import Scenario
from bench.workloads import Kind

CONCURRENCY: Mapping[Kind, Sequence[int]] = {
    Kind.PICTURE: (1, 16),
    Kind.GROUP: (1, 8),
    Kind.PAGE: (1, 4),
    Kind.TEXT: (1, 16),
}
"""Fewer of what is slow: a run lasts until each that is in flight has been answered three times."""


class Mix(StrEnum):
    """A family of scenarios: of one kind at several concurrencies, or of several kinds."""

    PICTURES = "pictures"
    GROUPS = "groups"
    PAGES = "pages"
    TEXTS = "texts"
    DEFAULT = "default"
    SEARCH = "search"


_SINGLE: Mapping[Mix, tuple[Kind, str]] = {
    Mix.PICTURES: (Kind.PICTURE, "previews are encoded for smart search"),
    Mix.GROUPS: (Kind.GROUP, "faces of group photos are found and recognised"),
    Mix.PAGES: (Kind.PAGE, "dense pages are read"),
    Mix.TEXTS: (Kind.TEXT, "search texts of one to eight words are encoded"),
}
_MIXED: Mapping[Mix, Scenario] = {
    Mix.DEFAULT: Scenario(
        "default mix",
        {Kind.PICTURE: 2, Kind.GROUP: 2, Kind.PAGE: 1, Kind.TEXT: 1},
        "Immich's default concurrency: 2 smart search, 2 faces, 1 OCR; and someone who searches.",
    ),
    Mix.SEARCH: Scenario(
        "search under indexing",
        {Kind.PICTURE: 4, Kind.GROUP: 3, Kind.PAGE: 1, Kind.TEXT: 1},
        "Eight indexing requests are always in flight, and someone searches.",
    ),
}


def choose(mixes: Sequence[Mix], concurrency: Sequence[int] = ()) -> tuple[Scenario, ...]:
    """The scenarios of the mixes, each once.

    Args:
        mixes: none is all.
        concurrency: of the scenarios of one kind; none is each kind's own.
    """
    return tuple(scenario for mix in dict.fromkeys(mixes or Mix) for scenario in _scenarios(mix, concurrency))


def kinds_of(scenarios: Sequence[Scenario]) -> list[Kind]:
    """The kinds of requests that the scenarios need."""
    return [kind for kind in Kind if any(kind in scenario.workers for scenario in scenarios)]


def _scenarios(mix: Mix, concurrency: Sequence[int]) -> Iterator[Scenario]:
    if mix in _MIXED:
        yield _MIXED[mix]
        return
    kind, what = _SINGLE[mix]
    for workers in concurrency or CONCURRENCY[kind]:
        about = f"{'One' if workers == 1 else workers} at a time: {what}."
        yield Scenario(f"{mix} at {workers}", {kind: workers}, about)

"""The loads that there are, and which of them are run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from adapter.compare.workload import Kind

CONCURRENCIES = (1, 4, 16)


class Mix(StrEnum):
    """A family of scenarios: of one kind at several concurrencies, or of several kinds."""

    PICTURES = "pictures"
    TEXTS = "texts"
    GROUPS = "groups"
    PAGES = "pages"
    SEARCH = "search"


SEARCH: Mapping[Kind, int] = {Kind.PICTURES: 4, Kind.GROUPS: 3, Kind.PAGES: 1, Kind.TEXTS: 1}
"""Eight indexing requests are always in flight, and someone searches."""


@dataclass(frozen=True)
class Scenario:
    """A load: closed loops of requests, so many of each kind at a time."""

    name: str
    loops: Mapping[Kind, int]


def choose(mixes: Sequence[Mix], concurrencies: Sequence[int]) -> list[Scenario]:
    """The scenarios of the mixes, each once; of no mixes all."""
    return [scenario for mix in dict.fromkeys(mixes or Mix) for scenario in _scenarios(mix, concurrencies)]


def kinds_of(scenarios: Sequence[Scenario]) -> list[Kind]:
    """The kinds of requests that the scenarios need."""
    return [kind for kind in Kind if any(kind in scenario.loops for scenario in scenarios)]


def _scenarios(mix: Mix, concurrencies: Sequence[int]) -> Iterator[Scenario]:
    if mix is Mix.SEARCH:
        yield Scenario("search while indexing", SEARCH)
    else:
        for number in concurrencies:
            yield Scenario(f"{mix} at {number}", {Kind(mix): number})

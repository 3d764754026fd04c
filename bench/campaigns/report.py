"""What a campaign found, in figures, and whether it is as it should be."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

SHOWN = 20


@dataclass
class Report:
    """Figures in words, by what they are of; and faults, of which there should be none."""

    figures: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        width = max(map(len, self.figures))
        lines = [f"{name:{width}}  {figure}" for name, figure in self.figures.items()]
        lines += [f"FAULT {count} times: {fault}" for fault, count in Counter(self.faults).most_common(SHOWN)]
        return "\n".join([*lines, f"{len(self.faults)} faults" if self.faults else "no fault"])


def percentile(numbers: Iterable[float], percent: int) -> float:
    """The number that so many in a hundred do not exceed; 0 of none."""
    ordered = sorted(numbers)
    return ordered[(len(ordered) - 1) * percent // 100] if ordered else 0.0


def latencies(seconds: Sequence[float]) -> str:
    """Median, 99th percentile and largest."""
    p50, p99, most = (percentile(seconds, percent) * 1000 for percent in (50, 99, 100))
    return f"{len(seconds)}: p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {most:.0f} ms"


def counted(things: Iterable[object]) -> str:
    """How many there are of each, the most frequent first."""
    return ", ".join(f"{thing}: {count}" for thing, count in Counter(things).most_common()) or "none"


@dataclass(frozen=True)
class Slope:
    """Of the line with the least squares, and its standard error."""

    value: float
    error: float

    @classmethod
    def of(cls, x: Sequence[float], y: Sequence[float]) -> "Slope":
        """Raises ValueError where there are fewer than three points."""
        if len(x) < 3:
            raise ValueError("a line through fewer than three points has no error")
        around = np.asarray(x) - np.mean(x)
        value = float(around @ np.asarray(y) / (around @ around))
        off = np.asarray(y) - np.mean(y) - value * around
        return cls(value, float(np.sqrt(off @ off / (len(x) - 2) / (around @ around))))

    def __str__(self) -> str:
        return f"{self.value:+.3f} ± {self.error:.3f}"

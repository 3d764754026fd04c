"""What two services' answers mean for what Immich has kept of one of them: its index."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from adapter.compare.differences import COSINE, Difference
from adapter.compare.workload import Kind
from adapter.protocol import TaskName

NEAR_COSINE = 0.99
SHOWN_FAULTS = 5
JOBS = {TaskName.CLIP: "Smart Search", TaskName.FACES: "Face Detection", TaskName.OCR: "OCR"}
"""What Immich calls the jobs that fill its indexes."""


@dataclass
class Answers:
    """How our answers to requests of one kind differ from theirs.

    Attributes:
        compared, differing: how many requests, and to how many the answers are not the same.
        lines, differing_lines: of text.
        faults: how they differ, in words; the first few.
    """

    kind: Kind
    compared: int = 0
    differing: int = 0
    cosines: list[float] = field(default_factory=list)
    boxes_px: list[float] = field(default_factory=list)
    lines: int = 0
    differing_lines: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, name: str, found: Difference) -> None:
        """One more request, by its name."""
        words = found.words
        self.compared += 1
        self.differing += bool(words)
        self.cosines += found.cosines
        self.boxes_px += found.boxes_px
        self.lines += found.lines
        self.differing_lines += len(found.texts)
        self.faults = [*self.faults, *(f"{name}: {word}" for word in words)][:SHOWN_FAULTS]

    @property
    def lowest_cosine(self) -> float | None:
        return min(self.cosines, default=None)

    @property
    def median_cosine(self) -> float | None:
        return median(self.cosines) if self.cosines else None

    @property
    def largest_box_px(self) -> float | None:
        return max(self.boxes_px, default=None)

    def as_json(self) -> dict[str, Any]:
        names = (
            "kind compared differing lowest_cosine median_cosine largest_box_px lines differing_lines faults"
        )
        return {name: getattr(self, name) for name in names.split()}


@dataclass(frozen=True)
class Verdict:
    """Whether the index that one service filled stays valid with the other's answers, and in words."""

    valid: bool
    words: str


def judge(answers: Iterable[Answers]) -> list[Verdict]:
    """A verdict on each task's index."""
    by_task: dict[TaskName, list[Answers]] = {}
    for found in answers:
        by_task.setdefault(found.kind.task, []).append(found)
    return [
        _lines(found) if task is TaskName.OCR else _vectors(task, found) for task, found in by_task.items()
    ]


def _vectors(task: TaskName, found: list[Answers]) -> Verdict:
    job = JOBS[task]
    cosines = [cosine for one in found for cosine in one.cosines]
    if not cosines:
        return Verdict(
            True, f"{job}: no face in these pictures. Give a folder of photos of people: --pictures"
        )
    lowest = f"{job}: the lowest cosine is {min(cosines):.6f}:"
    if min(cosines) < NEAR_COSINE:
        return Verdict(False, f"{lowest} rebuild the index. In Immich, run the job {job} for all pictures.")
    if min(cosines) < COSINE:
        return Verdict(
            False,
            f"{lowest} the index can still be searched, with a little other order. To have it exact, run the job "
            f"{job} for all pictures.",
        )
    compared, differing = (sum(getattr(one, name) for one in found) for name in ("compared", "differing"))
    if differing:
        words = f"the index stays valid, but {differing} of {compared} answers differ otherwise."
        return Verdict(False, f"{lowest} {words}")
    return Verdict(True, f"{lowest} the index stays valid.")


def _lines(found: list[Answers]) -> Verdict:
    lines, differing = (sum(getattr(one, name) for one in found) for name in ("lines", "differing_lines"))
    if differing:
        return Verdict(
            False,
            f"OCR: {differing} of {lines} lines differ. What was read before can still be searched; to have it read "
            "anew, run the job OCR for all pictures.",
        )
    return Verdict(True, f"OCR: no line of {lines} differs: the index stays valid.")

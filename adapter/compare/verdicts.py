"""What two services' answers mean for what Immich has kept of one of them: its index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from adapter.compare.differences import COSINE, Difference
from adapter.compare.workload import Kind
from adapter.protocol import TaskName

NEAR_COSINE = 0.99
SHOWN_FAULTS = 5
JOBS = {TaskName.CLIP: "Smart Search", TaskName.FACES: "Face Detection", TaskName.OCR: "OCR"}
"""What Immich calls the jobs that fill its indexes."""


@dataclass(frozen=True)
class Answers:
    """How our answers to requests of one kind differ from theirs.

    Attributes:
        compared, differing: how many requests, and to how many the answers are not the same.
        lowest_cosine, median_cosine, largest_box_px: None where there is no vector, or no box.
        lines, differing_lines: of text.
        faults: how they differ, in words; the first few.
    """

    kind: Kind
    compared: int
    differing: int
    lowest_cosine: float | None
    median_cosine: float | None
    largest_box_px: float | None
    lines: int
    differing_lines: int
    faults: list[str]


def join(kind: Kind, found: Mapping[str, Difference]) -> Answers:
    """The differences by the requests' names as one."""
    differences = found.values()
    cosines = [cosine for one in differences for cosine in one.cosines]
    words = [f"{name}: {word}" for name, one in found.items() for word in one.words]
    return Answers(
        kind,
        compared=len(found),
        differing=sum(bool(one.words) for one in differences),
        lowest_cosine=min(cosines, default=None),
        median_cosine=median(cosines) if cosines else None,
        largest_box_px=max((box for one in differences for box in one.boxes_px), default=None),
        lines=sum(one.lines for one in differences),
        differing_lines=sum(len(one.texts) for one in differences),
        faults=words[:SHOWN_FAULTS],
    )


@dataclass(frozen=True)
class Verdict:
    """Whether the index that one service filled stays valid with the other's answers, and in words."""

    valid: bool
    words: str


def judge(answers: Sequence[Answers]) -> list[Verdict]:
    """A verdict on each task's index."""
    tasks = dict.fromkeys(one.kind.task for one in answers)
    return [_verdict(task, [one for one in answers if one.kind.task is task]) for task in tasks]


def _verdict(task: TaskName, found: Sequence[Answers]) -> Verdict:
    compared, differing, lines, differing_lines = (
        sum(getattr(one, name) for one in found)
        for name in ("compared", "differing", "lines", "differing_lines")
    )
    if differing_lines:
        anew = "What was read before can still be searched; to have it read anew, run the job OCR for all pictures."
        return Verdict(False, f"OCR: {differing_lines} of {lines} lines differ. {anew}")
    if task is TaskName.OCR:
        return Verdict(True, f"OCR: no line of {lines} differs: the index stays valid.")
    job, cosines = JOBS[task], [one.lowest_cosine for one in found if one.lowest_cosine is not None]
    if not cosines:
        return Verdict(
            True, f"{job}: no face in these pictures. Give a folder of photos of people: --pictures"
        )
    if min(cosines) < NEAR_COSINE:
        words = f"rebuild the index. In Immich, run the job {job} for all pictures."
    elif min(cosines) < COSINE:
        words = "the index can still be searched, with a little other order. To have it exact, "
        words += f"run the job {job} for all pictures."
    elif differing:
        words = f"the index stays valid, but {differing} of {compared} answers differ otherwise."
    else:
        words = "the index stays valid."
    exact = min(cosines) >= COSINE and not differing
    return Verdict(exact, f"{job}: the lowest cosine is {min(cosines):.6f}: {words}")

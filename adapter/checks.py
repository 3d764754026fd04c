"""What the service needs of its host, and whether it is there: asked by `doctor`, and before the service is ready.

Each check is good, or its message says what to do.
"""

import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adapter.device import NoDriver, NoGpu, find, host_memory_bytes, try_gpu
from adapter.embedded import SHARED_MEMORY
from adapter.preparation.door import Preparation
from adapter.protocol import TaskName, TypeName
from adapter.setting_types import Device
from adapter.settings import Settings

GIB = 2**30
LITTLE_DISK_BYTES = GIB
LITTLE_SHARED_MEMORY_BYTES = 256 * 2**20
BASE_BYTES = GIB // 2
"""Memory of the adapter, Triton and its steps; what a loaded model takes beside is about the size of its weights."""
MOST_NAMED = 5
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True)
class Finding:
    """What one check found; `blocks`: nothing can be served until it is mended."""

    subject: str
    good: bool
    message: str
    blocks: bool = False


def at_start(settings: Settings, preparation: Preparation) -> Iterator[Finding]:
    """What is worth a look at every start: it takes milliseconds."""
    yield cache(settings, preparation)
    yield state(settings, preparation)
    yield shared_memory(settings)
    yield memory(settings, preparation)


def cache(settings: Settings, preparation: Preparation) -> Finding:
    """The folder of the models can be read, every model in it, and written where something is to be fetched."""
    folder = settings.models
    if settings.cache_folder and _nearest(folder) != folder:
        advice = f"mend MACHINE_LEARNING_CACHE_FOLDER, or make it: mkdir -p {folder}"
        return Finding("models", False, f"{folder} does not exist: {advice}", blocks=True)
    if fault := _fault(folder, os.R_OK | os.X_OK):
        return Finding("models", False, fault, blocks=True)
    if closed := preparation.unreadable():
        names = ", ".join(map(str, closed[:MOST_NAMED])) + (", ..." if len(closed) > MOST_NAMED else "")
        return Finding("models", False, f"{_user()} cannot read {names}: {_mend(folder)}")
    here = {(here.part.task, here.part.name, here.revision) for here in preparation.here()}
    revisions = Counter(revision for *_, revision in here)
    models = " and ".join(f"{number} of revision {name}" for name, number in sorted(revisions.items()))
    if fault := _fault(folder, os.W_OK | os.X_OK):
        only = f"{models}; {folder} is only read: others cannot be fetched"
        return Finding("models", bool(here), only if here else f"{fault} There is no model in it either.")
    free = shutil.disk_usage(_nearest(folder)).free
    room = f"{size(free)} free for others in {folder}"
    if free < LITTLE_DISK_BYTES:
        return Finding("models", False, f"only {room}: make room")
    return Finding("models", True, f"{models or 'none here yet'}; {room}")


def state(settings: Settings, preparation: Preparation) -> Finding:
    """The folder of prepared models can be written, and has room for those that are not prepared yet.

    One that another host has filled may also be read alone.
    """
    if fault := _fault(settings.state, os.R_OK | os.X_OK):
        return Finding("state", False, fault, blocks=True)
    if fault := _fault(settings.state, os.W_OK):
        if not any(here.prepared for here in preparation.here()):
            return Finding("state", False, f"{fault} Nothing is prepared in it either.", blocks=True)
        return Finding("state", True, f"{settings.state} is only read: no other models can be prepared")
    free = shutil.disk_usage(_nearest(settings.state)).free
    needed = LITTLE_DISK_BYTES + sum(here.bytes for here in preparation.here() if not here.prepared)
    if free < needed:
        message = (
            f"only {size(free)} free for {settings.state}; preparing the models here takes {size(needed)}"
        )
        return Finding("state", False, message)
    return Finding("state", True, f"{size(free)} free for {settings.state}")


def shared_memory(settings: Settings) -> Finding:
    """Pictures and tensors go through it between Triton's processes."""
    if settings.triton_url:
        return Finding("shared memory", True, "needed where Triton runs, not here")
    if not SHARED_MEMORY.is_dir():
        return Finding("shared memory", False, f"{SHARED_MEMORY} is missing; Triton's processes need it")
    ours = sum(region.stat().st_size for region in SHARED_MEMORY.glob("immich_triton_*"))
    room = shutil.disk_usage(SHARED_MEMORY).free + ours
    if room < LITTLE_SHARED_MEMORY_BYTES:
        advice = "give the container more: --shm-size 1g, or shm_size: 1g in a compose file"
        return Finding("shared memory", False, f"only {size(room)} in {SHARED_MEMORY}; {advice}")
    return Finding("shared memory", True, f"{size(room)} in {SHARED_MEMORY}")


def memory(settings: Settings, preparation: Preparation) -> Finding:
    """The largest model of each task fits beside the others. Where Triton is elsewhere, so are the models."""
    has = memory_bytes()
    if settings.triton_url:
        return Finding("memory", True, f"{size(has)}; models are loaded where Triton runs")
    largest: defaultdict[tuple[TaskName, TypeName], int] = defaultdict(int)
    for here in preparation.here():
        kind = here.part.task, here.part.type
        largest[kind] = max(largest[kind], here.bytes)
    needed = BASE_BYTES + sum(largest.values())
    what = f"{size(needed)} are needed" + (
        " for the largest models here, one of each task" if largest else ""
    )
    if has < needed:
        advice = "give it more (in Docker: mem_limit), or use smaller models"
        return Finding("memory", False, f"{size(has)}, but {what}: {advice}")
    return Finding("memory", True, f"{size(has)}; {what}")


def gpu(settings: Settings) -> Finding:
    """A graph runs on it, where one is wanted. Takes seconds."""
    device = settings.preparation.device
    if settings.triton_url:
        return Finding(
            "GPU", True, f"models run where Triton does: IMMICH_TRITON_DEVICE={device} says on what"
        )
    if device is Device.CPU:
        return Finding("GPU", True, "IMMICH_TRITON_DEVICE=cpu: models run on the CPU")
    found = None
    try:
        found = find(device)
        try_gpu(device)
    except NoGpu as reason:
        if isinstance(reason, NoDriver) and device is Device.AUTO:
            return Finding("GPU", True, f"{reason}; models run on the CPU")
        return Finding("GPU", False, f"{found or 'a GPU'} cannot be used: {reason}")
    return Finding("GPU", True, f"a graph ran on {found}")


def memory_bytes() -> int:
    """What this process may take: the container's limit, or the host's memory."""
    texts = [file.read_text().strip() for file in CGROUP_LIMITS if file.exists()]
    return min([host_memory_bytes(), *(int(text) for text in texts if text.isdigit())])


def size(count: int) -> str:
    """A number of bytes, for people."""
    return f"{count / GIB:.1f} GB" if count >= GIB else f"{count / 2**20:.0f} MB"


def _fault(folder: Path, mode: int) -> str | None:
    """Why a folder, or what it is to be made in, cannot be used in such a way."""
    try:
        nearest = _nearest(folder)
    except PermissionError:
        return f"{_user()} may not enter what {folder} lies in: choose another folder."
    if not nearest.is_dir():
        return f"{folder} cannot be a folder: {nearest} is a file."
    needed = mode if nearest == folder else os.W_OK | os.X_OK
    if os.access(nearest, needed):
        return None
    does = "write" if needed & os.W_OK and os.access(nearest, os.R_OK) else "read"
    return f"{_user()} cannot {does} {nearest}: {_mend(nearest)}."


def _nearest(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def _user() -> str:
    return f"user {os.geteuid()}"


def _mend(folder: Path) -> str:
    return f"chown -R {os.geteuid()}:{os.getegid()} {folder}, or choose another folder"

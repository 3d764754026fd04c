"""How many cores this process may use: those that it is bound to, or what its share of time comes to.

A container that may use two cores' time on a host of sixteen still sees all sixteen. With as many threads it uses its
share up at once, and stands still for the rest of each tenth of a second.
"""

import math
import os
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")
GROUPS, GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def logical() -> int:
    """Cores as the kernel counts them: two for one that runs two threads."""
    return _within_quota(len(os.sched_getaffinity(0)))


def physical() -> int:
    """Cores that compute by themselves: two threads of one have its arithmetic units in common."""
    allowed = os.sched_getaffinity(0)
    try:
        siblings = {(CPUS / f"cpu{number}/topology/thread_siblings_list").read_text() for number in allowed}
    except OSError:
        return _within_quota(len(allowed))
    return _within_quota(len(siblings))


def _within_quota(count: int) -> int:
    """Docker's `--cpus`, a limit of Kubernetes, systemd's CPUQuota: `cpu.max` of version 2 of control groups."""
    group = next((line[4:] for line in GROUP.read_text().splitlines() if line.startswith("0::/")), "")
    try:
        limit, period = (GROUPS / group / "cpu.max").read_text().split()
    except OSError:
        return count
    return count if limit == "max" else min(count, math.ceil(int(limit) / int(period)))

"""How many cores this process may use: what its threads are counted by, with the standard library alone."""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Whole cores that this process may run on: its affinity, and no more than its control groups let it use.

    More threads than that wait for each other: a process on one of two cores with a thread for each was 2.2 times as
    slow as with one (benchmarks/LOG.md).
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return bound if quota is None else max(1, min(bound, int(quota)))


def cgroup_quota() -> float | None:
    """Cores' worth of time that the process's control groups allow, the least of them; None: no limit.

    Version 2 (``cpu.max``) and version 1 (``cpu.cfs_quota_us``), of the group and of all above it.
    """
    limits = []
    for line in read_kernel(OWN_CGROUP).splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS / controllers if controllers else CGROUPS
        folder = root / group.lstrip("/")
        for place in (folder, *folder.parents):
            limits.append(_limit(place))
            if place == root:
                break
    known = [limit for limit in limits if limit is not None]
    return min(known, default=None)


def _limit(group: Path) -> float | None:
    """The quota of one group, over its period."""
    words = read_kernel(group / "cpu.max").split()
    if len(words) != 2:
        words = [read_kernel(group / "cpu.cfs_quota_us"), read_kernel(group / "cpu.cfs_period_us")]
    quota, period = words
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def read_kernel(path: Path) -> str:
    """A file of the kernel's, stripped of blanks and NULs; empty where it is missing or refuses."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip(" \t\n\0")
    except OSError:
        return ""

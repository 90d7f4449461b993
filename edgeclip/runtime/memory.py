"""Memory of this process, as the system counts it."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def own_peak_mb() -> float | None:
    """Peak resident memory of this process so far, MB (10^6 bytes); None where the system does not tell."""
    if sys.platform == "linux":
        # Not getrusage: its peak survives exec, so a child would answer with its parent's.
        match = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
        return int(match[1]) * 1024 / 1e6 if match else None
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return None

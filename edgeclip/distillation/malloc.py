"""Keep freed memory, when training on a CPU.

By default glibc returns each large freed block to the system, so every training step faults all of its activations in
again, page by page. Keeping them made a small ViT's step three times as fast (benchmarks/LOG.md).
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def keep_freed_memory() -> None:
    """Set glibc's allocator so; elsewhere (musl, macOS, Windows) nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 256 << 20)

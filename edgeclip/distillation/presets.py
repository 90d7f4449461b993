"""The terms of the objective by name, and known sums of them; torch is not needed to choose one."""

from __future__ import annotations

TERMS = ("vl", "pvl", "udist", "embed", "soft")
PRESETS: dict[str, dict[str, float]] = {
    "dime-fm": {"vl": 0.7, "pvl": 0.3},  # the authors' code
    "dime-fm-paper": {"vl": 0.68, "pvl": 0.22, "udist": 0.1},  # as a port quotes the paper
    "embedding": {"embed": 1.0},  # squared error and cosine at once: CLIP-KD's FD, NVIDIA's clip-distillation
    "soft": {"soft": 1.0},  # open_clip's and MobileCLIP's distillation
    "affinity": {"soft": 2.0},  # TinyCLIP's affinity mimicking: the sum of both directions where `soft` is the mean
    "mixed": {"vl": 0.7, "pvl": 0.3, "embed": 10.0},  # DIME-FM, and every embedding drawn to its teacher's
}

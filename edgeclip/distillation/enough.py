"""Are there enough images to learn from? Told before the training by what a student retained on fewer."""

from __future__ import annotations

# Images -> share of the teacher's top-1 above chance that the demo's student retained, after as many steps each: means
# of benchmarks/results/demo_epochs.json. Its drawings are simple: photographs need no fewer.
RETAINED = {300: 0.37, 1000: 0.84, 2798: 0.95}


def few_images(count: int) -> str:
    """A warning where there are fewer images than the largest number of ``RETAINED``; else empty."""
    enough = max(RETAINED)
    if count >= enough:
        return ""
    measured = ", ".join(f"{100 * share:.0f} % with {images:,}" for images, share in RETAINED.items())
    kept = f"the demo's student retains {measured} images of its teacher's accuracy above chance"
    return f"{count:,} images are few: {kept}. Give {enough:,} or more; they need no labels and no captions"

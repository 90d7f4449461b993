"""Do the tests see silent mistakes? Each of these changes is made in a copy of the tree, and a test must fail.

    python benchmarks/hand_mutants.py [WORD ...]

Every one keeps the program running and its figures plausible, which is what makes it dangerous. Only those whose title
holds one of the words are tried, where there are any. Exit 1 where one survives.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("edgeclip", "export", "profiles", "tests", "benchmarks", "pyproject.toml", "setup.py", "README.md", "Makefile")


@dataclass(frozen=True)
class Mutant:
    """A change of one file: ``old`` occurs there once; ``tests`` are those of its room."""

    title: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = (
    Mutant(
        "the student sees another view than the teacher",
        "edgeclip/distill/pipeline.py",
        "self._targets.batch(view, rows, phrases)",
        "self._targets.batch((view + 1) % self._views_an_image, rows, phrases)",
        "tests/distill/test_loader.py",
    ),
    Mutant(
        "no clipping",
        "edgeclip/distill/trainer.py",
        "        self.accelerator.clip_grad_norm_(self.towers.parameters(), self.config.grad_clip)\n",
        "",
        "tests/distill/test_trainer.py",
    ),
    Mutant(
        "weight decay on every parameter",
        "edgeclip/distill/trainer.py",
        '{"params": rest, "weight_decay": 0.0}',
        '{"params": rest, "weight_decay": weight_decay}',
        "tests/distill/test_trainer.py",
    ),
    Mutant(
        "the average of weights is not updated",
        "edgeclip/distill/trainer.py",
        "            ema_update(self.average, self.accelerator.unwrap_model(self.towers), self.config.ema, step)\n",
        "            pass\n",
        "tests/distill/test_trainer.py",
    ),
    Mutant(
        "the average of weights does not become the student",
        "edgeclip/distill/trainer.py",
        "return self.average if self.average is not None else self.accelerator.unwrap_model(self.towers)",
        "return self.accelerator.unwrap_model(self.towers)",
        "tests/distill/test_trainer.py",
    ),
    Mutant(
        "the fingerprint without augmentation",
        "edgeclip/distill/targets.py",
        '            "augment": config.augment.model_dump_json(),\n',
        "",
        "tests/distill/test_loader.py",
    ),
    Mutant(
        "the fingerprint without seed",
        "edgeclip/distill/targets.py",
        '            "seed": str(config.seed),\n',
        "",
        "tests/distill/test_loader.py",
    ),
    Mutant(
        "the score's sign turned",
        "edgeclip/towers/prior.py",
        "return np.asarray(np.log2(space.gflops) + space.columns.merit - lost, np.float64)",
        "return -np.asarray(np.log2(space.gflops) + space.columns.merit - lost, np.float64)",
        "tests/towers tests/select",
    ),
    Mutant(
        "the worst is listed first",
        "edgeclip/select/select.py",
        "np.lexsort((speed, -scores))",
        "np.lexsort((speed, scores))",
        "tests/select",
    ),
    Mutant(
        "no tail in select",
        "edgeclip/select/select.py",
        "margin=tail(profile, precision) * (1 if to_measure else 1 + model.held_out_p90)",
        "margin=1 if to_measure else 1 + model.held_out_p90",
        "tests/select",
    ),
    Mutant(
        "no margin in select",
        "edgeclip/select/select.py",
        "margin=tail(profile, precision) * (1 if to_measure else 1 + model.held_out_p90)",
        "margin=tail(profile, precision)",
        "tests/select",
    ),
    Mutant(
        "GFLOPs of ViTs x 3",
        "edgeclip/towers/vit.py",
        "return calls, flops / 1e9, elems / 1e6, params / 1e6",
        "return calls, 3 * flops / 1e9, elems / 1e6, params / 1e6",
        "tests/towers tests/select",
    ),
    Mutant(
        "GFLOPs of all workloads x 3",
        "edgeclip/device/schema.py",
        "return sum(work.gflops for work in self.kernels.values())",
        "return 3 * sum(work.gflops for work in self.kernels.values())",
        "tests/towers tests/select",
    ),
    Mutant(
        "the slowest variant recommended",
        "edgeclip/runtime/choice.py",
        "top = max((speed for speed, _ in options.values()), default=0.0)",
        "top = min((speed for speed, _ in options.values()), default=0.0)",
        "tests/export/test_tune.py tests/measure/test_choice.py",
    ),
    Mutant(
        "int8 per tensor",
        "export/int8.py",
        "per_channel=True",
        "per_channel=False",
        "tests/export/test_precision.py",
    ),
    Mutant(
        "the probe not relative to its reference",
        "edgeclip/device/probe.py",
        "return float(np.median([own.p50 / beside.p50 for own, beside in self.turns]))",
        "return float(np.median([own.p50 for own, beside in self.turns]))",
        "tests/device/test_probe.py",
    ),
    Mutant(
        "the report's latency halved",
        "edgeclip/measure/rows.py",
        'cuts = {f"{name}_ms": value for name, value in found["latency"].items()}',
        'cuts = {f"{name}_ms": value / 2 for name, value in found["latency"].items()}',
        "tests/measure/test_rows.py",
    ),
    Mutant(
        "every call's time halved",
        "edgeclip/runtime/timing.py",
        "found.append((time.perf_counter_ns() - begin) / 1e6)",
        "found.append((time.perf_counter_ns() - begin) / 2e6)",
        "tests/measure/test_rows.py",
    ),
)


def main() -> None:
    """Try them, one line each."""
    words = sys.argv[1:]
    chosen = [one for one in MUTANTS if not words or any(word in one.title for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder))
        survivors = [one.title for one in chosen if not killed(one, tree)]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} are seen" + "".join(f"\nSURVIVES: {t}" for t in survivors))
    sys.exit(1 if survivors else 0)


def copied(folder: Path) -> Path:
    """The tree as it is installed, see setup.py: export and profiles lie within the package."""
    for part in PARTS:
        source = ROOT / part
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / part)
    for part in ("export", "profiles"):
        (folder / "edgeclip" / part).symlink_to(folder / part)
    return folder


def killed(mutant: Mutant, tree: Path) -> bool:
    """Whether a test fails with the change, and passes without."""
    file = tree / mutant.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise SystemExit(
            f"{mutant.title}: {mutant.file} holds what it changes {text.count(mutant.old)} times, not once"
        )
    if not passes(mutant, tree):
        raise SystemExit(f"{mutant.title}: {mutant.tests} fail without it")
    file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        seen = not passes(mutant, tree)
    finally:
        file.write_text(text, encoding="utf-8")
    print(f"{'seen' if seen else 'SURVIVES':8} {mutant.title}", flush=True)
    return seen


def passes(mutant: Mutant, tree: Path) -> bool:
    """Whether the tests of its room pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow and not gpu", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*command, *mutant.tests.split()], cwd=tree, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    main()

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
PARTS = ("edgeclip", "export", "profiles", "tests", "benchmarks", "docs", "examples")
PARTS += ("pyproject.toml", "setup.py", "README.md", "Makefile", "mkdocs.yml")

GREEN: set[str] = set()  # tests that passed without any change


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
        "edgeclip/distillation/batches.py",
        "self._targets.batch(view, rows, phrases)",
        "self._targets.batch((view + 1) % self._views_an_image, rows, phrases)",
        "tests/distillation/test_loader.py",
    ),
    Mutant(
        "no clipping",
        "edgeclip/distillation/trainer.py",
        "self.accelerator.clip_grad_norm_(self.towers.parameters(), self.config.grad_clip))",
        'self.accelerator.clip_grad_norm_(self.towers.parameters(), float("inf")))',
        "tests/distillation/test_trainer.py",
    ),
    Mutant(
        "weight decay on every parameter",
        "edgeclip/distillation/optimizer.py",
        '{"params": rest, "weight_decay": 0.0}',
        '{"params": rest, "weight_decay": weight_decay}',
        "tests/distillation/test_trainer.py",
    ),
    Mutant(
        "the average of weights is not updated",
        "edgeclip/distillation/trainer.py",
        "            ema_update(self.average, self.accelerator.unwrap_model(self.towers), self.config.ema, step)\n",
        "            pass\n",
        "tests/distillation/test_trainer.py",
    ),
    Mutant(
        "the average of weights does not become the student",
        "edgeclip/distillation/trainer.py",
        "return self.average if self.average is not None else self.accelerator.unwrap_model(self.towers)",
        "return self.accelerator.unwrap_model(self.towers)",
        "tests/distillation/test_trainer.py",
    ),
    Mutant(
        "the fingerprint without augmentation",
        "edgeclip/distillation/targets.py",
        '        "augment": config.augment.model_dump_json(),\n',
        "",
        "tests/distillation/test_loader.py",
    ),
    Mutant(
        "the fingerprint without seed",
        "edgeclip/distillation/targets.py",
        '        "seed": f"{config.seed}, by key",\n',
        "",
        "tests/distillation/test_loader.py",
    ),
    Mutant(
        "the score's sign turned",
        "edgeclip/towers/prior.py",
        "return np.asarray(np.log2(space.gflops) + space.columns.efficiency - lost, np.float64)",
        "return -np.asarray(np.log2(space.gflops) + space.columns.efficiency - lost, np.float64)",
        "tests/towers tests/selection",
    ),
    Mutant(
        "the worst is listed first",
        "edgeclip/selection/select.py",
        "np.lexsort((speed[left], -scores[left]))",
        "np.lexsort((speed[left], scores[left]))",
        "tests/selection",
    ),
    Mutant(
        "no tail in select",
        "edgeclip/selection/select.py",
        "margin=tail(profile, precision) * (1 if to_measure else 1 + model.held_out_p90)",
        "margin=1 if to_measure else 1 + model.held_out_p90",
        "tests/selection",
    ),
    Mutant(
        "no margin in select",
        "edgeclip/selection/select.py",
        "margin=tail(profile, precision) * (1 if to_measure else 1 + model.held_out_p90)",
        "margin=tail(profile, precision)",
        "tests/selection",
    ),
    Mutant(
        "GFLOPs of ViTs x 3",
        "edgeclip/towers/vit.py",
        "return calls, flops / 1e9, elems / 1e6, params / 1e6",
        "return calls, 3 * flops / 1e9, elems / 1e6, params / 1e6",
        "tests/towers tests/selection",
    ),
    Mutant(
        "GFLOPs of all workloads x 3",
        "edgeclip/profiling/schema.py",
        "return sum(work.gflops for work in self.kernels.values())",
        "return 3 * sum(work.gflops for work in self.kernels.values())",
        "tests/towers tests/selection",
    ),
    Mutant(
        "the slowest variant recommended",
        "edgeclip/runtime/choice.py",
        "top = max((speed for speed, _ in options.values()), default=0.0)",
        "top = min((speed for speed, _ in options.values()), default=0.0)",
        "tests/exporting/test_tune.py tests/measurement/test_choice.py",
    ),
    Mutant(
        "int8 per tensor",
        "export/int8.py",
        "per_channel=True",
        "per_channel=False",
        "tests/exporting/test_precision.py",
    ),
    Mutant(
        "the probe not relative to its reference",
        "edgeclip/profiling/probe.py",
        "return float(np.median([tower.p50 / beside.p50 for tower, beside in self.turns]))",
        "return float(np.median([tower.p50 for tower, beside in self.turns]))",
        "tests/profiling/test_probe.py",
    ),
    Mutant(
        "the report's latency halved",
        "edgeclip/measurement/rows.py",
        'cuts = {f"{name}_ms": value for name, value in result.latency.items()}',
        'cuts = {f"{name}_ms": value / 2 for name, value in result.latency.items()}',
        "tests/measurement/test_rows.py",
    ),
    Mutant(
        "every call's time halved",
        "edgeclip/runtime/timing.py",
        "samples.append((time.perf_counter_ns() - begin) / 1e6)",
        "samples.append((time.perf_counter_ns() - begin) / 2e6)",
        "tests/measurement/test_rows.py",
    ),
    Mutant(
        "of two alike the worse sentence is kept",
        "edgeclip/distillation/grounding.py",
        "pairs.append((a, b) if place[a] < place[b] else (b, a))",
        "pairs.append((b, a) if place[a] < place[b] else (a, b))",
        "tests/distillation/test_grounding.py",
    ),
    Mutant(
        "the loss not multiplied by the number of processes",
        "edgeclip/distillation/trainer.py",
        "self.accelerator.backward(self.accelerator.num_processes * total)",
        "self.accelerator.backward(total)",
        "tests/distillation/test_trainer.py",
    ),
    Mutant(
        "the loss of parts not multiplied by the number of processes",
        "edgeclip/distillation/trainer.py",
        "(self.accelerator.num_processes * total).backward()",
        "total.backward()",
        "tests/distillation/test_trainer.py",
    ),
    Mutant(
        "winners and losers exchanged in rows",
        "edgeclip/measurement/rows.py",
        'for name, sign in (("losers", -1), ("winners", 1)):',
        'for name, sign in (("losers", 1), ("winners", -1)):',
        "tests/measurement/test_rows.py",
    ),
    Mutant(
        "lost and won exchanged in rows",
        "edgeclip/measurement/rows.py",
        '"lost": compared.lost / compared.images,',
        '"lost": compared.won / compared.images,',
        "tests/measurement/test_rows.py",
    ),
    Mutant(
        "lost and won exchanged in join",
        "edgeclip/reporting/join.py",
        "for row in (after, before))",
        "for row in (before, after))",
        "tests/reporting/test_join.py",
    ),
    Mutant(
        "winners and losers exchanged in retention",
        "edgeclip/comparison/retention.py",
        '"losers": changed_classes(result, reference, classnames, -1),',
        '"losers": changed_classes(result, reference, classnames, 1),',
        "tests/comparison/test_retention.py",
    ),
    Mutant(
        "McNemar of lost images and all images",
        "edgeclip/comparison/answers.py",
        "return mcnemar(self.lost, self.won)",
        "return mcnemar(self.lost, self.images - self.lost)",
        "tests/comparison/test_retention.py",
    ),
    Mutant(
        "an image that was right before and is right now counted as won",
        "edgeclip/comparison/answers.py",
        "int((now & ~before).sum())",
        "int(now.sum())",
        "tests/comparison/test_answers.py",
    ),
    Mutant(
        "the bootstrap draws each row's images apart",
        "edgeclip/evaluation/metrics.py",
        "values.append(metric(*(row[chosen] for row in rows)))",
        "values.append(metric(*(row[draw.integers(0, count, count)] for row in rows)))",
        "tests/evaluation",
    ),
    Mutant(
        "joules as millijoules",
        "edgeclip/measurement/bench.py",
        "EnergyPerImage(1e3 * used.joules / images",
        "EnergyPerImage(used.joules / images",
        "tests/measurement/test_rows.py",
    ),
    Mutant(
        "the time to load in seconds",
        "edgeclip/runtime/worker.py",
        "load_ms=1e3 * (loaded - imported)",
        "load_ms=(loaded - imported)",
        "tests/runtime/test_worker.py",
    ),
    Mutant(
        "the first inference in seconds",
        "edgeclip/runtime/worker.py",
        "first_ms=1e3 * (ran - loaded)",
        "first_ms=(ran - loaded)",
        "tests/runtime/test_worker.py",
    ),
    Mutant(
        "the stages from file to embedding in seconds",
        "edgeclip/runtime/worker.py",
        "parts[name].append(1e3 * took)",
        "parts[name].append(took)",
        "tests/runtime/test_worker.py",
    ),
    Mutant(
        "the bundle's hash not compared in report",
        "edgeclip/chain/report.py",
        "if figures and figures.bundle != opened.sha256:",
        "if figures and not figures.bundle:",
        "tests/measurement/test_figures.py",
    ),
    Mutant(
        "winners' examples shown as losers'",
        "edgeclip/comparison/answers.py",
        "moved = model.right & ~reference.right if sign > 0 else reference.right & ~model.right",
        "moved = model.right & ~reference.right if sign < 0 else reference.right & ~model.right",
        "tests/comparison/test_retention.py",
    ),
    Mutant(
        "the probe's penalty chosen on the test split",
        "edgeclip/evaluation/probe.py",
        "_swept_within(train, (HELD_OUT, 0.5), classes)",
        "sweep(train, test, classes)",
        "tests/evaluation/test_tasks.py",
    ),
    Mutant(
        "the few-shot probe's penalty chosen on the test split",
        "edgeclip/evaluation/probe.py",
        "_swept_within(chosen, (0.5,), classes, seed)",
        "sweep(chosen, test, classes)",
        "tests/evaluation/test_tasks.py",
    ),
    Mutant(
        "QuickGELU not in the config",
        "edgeclip/models/openclip.py",
        ' | ({"quick_gelu": True} if quick else {})',
        "",
        "tests/models/test_tokenizers.py",
    ),
    Mutant(
        "QuickGELU not forced",
        "edgeclip/models/openclip.py",
        "force_quick_gelu=quick)",
        "force_quick_gelu=False)",
        "tests/models/test_tokenizers.py",
    ),
    Mutant(
        "QuickGELU not carried to the student",
        "edgeclip/distillation/teachers.py",
        'if key not in ("embed_dim", "vision_cfg")}',
        'if key not in ("embed_dim", "vision_cfg", "quick_gelu")}',
        "tests/models/test_tokenizers.py",
    ),
    Mutant(
        "what is withheld counts all the same",
        "edgeclip/reporting/criteria.py",
        "ms = chosen.timing.p90_ms if chosen.timing and not withheld else None",
        "ms = chosen.timing.p90_ms if chosen.timing else None",
        "tests/reporting/test_criteria.py",
    ),
    Mutant(
        "memory that is withheld counts all the same",
        "edgeclip/reporting/criteria.py",
        "peak = None if withheld else chosen.peak_memory_mb",
        "peak = chosen.peak_memory_mb",
        "tests/reporting/test_criteria.py",
    ),
    Mutant(
        "the student of another fingerprint has a row",
        "edgeclip/chain/sources.py",
        "if student.fingerprint != bundle.manifest.source_fingerprint:",
        "if not student.fingerprint:",
        "tests/base/test_trust.py",
    ),
    Mutant(
        "figures of another engine are judged",
        "edgeclip/runtime/target.py",
        "if (self.name, self.provider) == (other.name, other.provider):",
        "if self.threads > 0:",
        "tests/measurement/test_runtimes.py",
    ),
    Mutant(
        "figures of another provider are judged",
        "edgeclip/runtime/target.py",
        "if (self.name, self.provider) == (other.name, other.provider):",
        "if self.name == other.name:",
        "tests/measurement/test_runtimes.py",
    ),
    Mutant(
        "a provider that everything fell back from is judged",
        "edgeclip/chain/judging.py",
        "if row.on_provider == 0:",
        "if row.on_provider is None:",
        "tests/measurement/test_runtimes.py",
    ),
    Mutant(
        "the reference runs in the default engine",
        "edgeclip/measurement/reference.py",
        "engine=engine, provider=provider, threads=threads",
        "threads=threads",
        "tests/measurement/test_runtimes.py",
    ),
    Mutant(
        "chance is no more than a point",
        "edgeclip/evaluation/chance.py",
        "return wilson(accuracy, images)[0] > chance",
        "return accuracy > chance",
        "tests/evaluation/test_copies.py tests/reporting/test_criteria.py",
    ),
    Mutant(
        "chance is a guess, whatever the commonest class",
        "edgeclip/evaluation/chance.py",
        "return max(1 / classes, float(shares.max()))",
        "return 1 / classes",
        "tests/evaluation/test_copies.py",
    ),
    Mutant(
        "a loss of accuracy judged by its point value",
        "edgeclip/reporting/criteria.py",
        "if not interval[0] <= limit < interval[1]:",
        "if interval[0] <= interval[1]:",
        "tests/reporting/test_criteria.py",
    ),
    Mutant(
        "copies count as often as there are",
        "edgeclip/evaluation/copies.py",
        "if key not in seen:",
        "if key:",
        "tests/evaluation/test_copies.py",
    ),
    Mutant(
        "what was not verified passes",
        "edgeclip/reporting/criteria.py",
        "len(wrong) if wrong or checked else None",
        "len(wrong)",
        "tests/reporting",
    ),
    Mutant(
        "the verdict passes what is open",
        "edgeclip/reporting/build.py",
        '"unknown" if None in answers or not limited else "met"',
        '"unknown" if not limited else "met"',
        "tests/reporting",
    ),
    Mutant(
        "a variant that failed is no matter",
        "edgeclip/reporting/criteria.py",
        'broken = [row.stage for row in rows if row.failed and row.where == "device"]',
        'broken = [row.stage for row in rows[:1] if row.failed and row.where == "device"]',
        "tests/reporting",
    ),
    Mutant(
        "the next student by the profile's own limits",
        "edgeclip/chain/suggest.py",
        'aim = limits.model_copy(update={"latency_ms": within})',
        'aim = profile.budget.model_copy(update={"latency_ms": within})',
        "tests/chain/test_suggest.py",
    ),
    Mutant(
        "a figure that is gone is no regression",
        "edgeclip/reporting/compare.py",
        "        return base is not None\n    percent, points = limits",
        "        return False\n    percent, points = limits",
        "tests/reporting/test_compare.py",
    ),
    Mutant(
        "a criterion that was met and is not is no regression",
        "edgeclip/reporting/compare.py",
        "lambda base, value: base == MET != value",
        "lambda base, value: False",
        "tests/reporting/test_compare.py",
    ),
    Mutant(
        "verification that was lost is no regression",
        "edgeclip/reporting/compare.py",
        "if parts[0] - good]",
        "if good - parts[0]]",
        "tests/reporting/test_compare.py",
    ),
    Mutant(
        "percentiles of a device's own word",
        "edgeclip/measurement/replies.py",
        "self.latency = percentiles(self.samples_ms) if self.samples_ms else None",
        "self.latency = self.latency if self.samples_ms else None",
        "tests/hostile/test_replies.py",
    ),
    Mutant(
        "percentiles that are not those of the samples",
        "edgeclip/measurement/schema.py",
        "if self.raw_ms and not np.allclose(percentiles",
        "if self.raw_ms and not np.isfinite(percentiles).all() and not np.allclose(percentiles",
        "tests/hostile/test_files.py",
    ),
    Mutant(
        "top-1 is not that of the answers",
        "edgeclip/measurement/schema.py",
        "if self.top1 is None or abs(self.top1 - share) > SAME:",
        "if self.top1 is None:",
        "tests/hostile/test_files.py",
    ),
    Mutant(
        "a seal that is broken is passed over",
        "edgeclip/base/documents.py",
        "if kind.SEALED and not whole and (seal or version >= kind.SEALED):",
        "if kind.SEALED and not whole and not seal and version >= kind.SEALED:",
        "tests/base/test_seal.py",
    ),
    Mutant(
        "the runner passes over a broken seal",
        "edgeclip/runtime/plain.py",
        'if manifest["version"] >= SEALED_SINCE and not is_whole(manifest):',
        'if manifest["version"] > SEALED_SINCE and not is_whole(manifest):',
        "tests/base/test_seal.py",
    ),
    Mutant(
        "a bundle from elsewhere is followed",
        "edgeclip/chain/sources.py",
        "if is_ours(manifest.signature, KIND, manifest.source):",
        "if manifest.signature:",
        "tests/base/test_trust.py",
    ),
    Mutant(
        "the code that a run of another's names runs in a report",
        "edgeclip/chain/sources.py",
        "        if not run.ours:\n",
        "        if not run.path:\n",
        "tests/base/test_trust.py",
    ),
    Mutant(
        "the code that a run of another's names runs in a resume",
        "edgeclip/api/student.py",
        "if not (trust or opened.ours):",
        "if not (trust or opened.path):",
        "tests/base/test_trust.py",
    ),
    Mutant(
        "the code that a project of another's names runs",
        "edgeclip/chain/project.py",
        "if not (trust or is_ours(project.signature, FILE, str(folder.resolve()))):",
        "if not (trust or project.signature):",
        "tests/base/test_trust.py",
    ),
    Mutant(
        "a negative size in a tar",
        "edgeclip/base/tars.py",
        'return int(digits or b"0", 8) if not digits.strip(b"01234567") else -1',
        'return int(digits or b"0", 8)',
        "tests/hostile/test_archives.py",
    ),
    Mutant(
        "escape sequences reach the terminal",
        "edgeclip/base/visible.py",
        "    shown = HIDDEN.sub(_spelt, text)\n",
        "    shown = text\n",
        "tests/base/test_visible.py",
    ),
    Mutant(
        "a password is written into a record",
        "edgeclip/base/visible.py",
        'place = f"{user}:{STARS}@{host}"',
        "place = parts.netloc",
        "tests/base/test_visible.py",
    ),
    Mutant(
        "a golden answer of another device's own word",
        "edgeclip/runtime/golden.py",
        "PartCheck(what, bool(cosine >= limits[name]), detail)",
        "PartCheck(what, True, detail)",
        "tests/measurement/test_figures.py",
    ),
    Mutant(
        "scratch of a process that lives is cleared",
        "edgeclip/base/scratch.py",
        "if owner and not _runs(int(owner[1])):",
        "if owner:",
        "tests/base/test_scratch.py",
    ),
    Mutant(
        "a machine that is faster than its profile is not told of",
        "edgeclip/reporting/build.py",
        "if slower <= 1 / BUSY:",
        "if slower <= 0:",
        "tests/reporting/test_report.py",
    ),
    Mutant(
        "what is kept of the teacher's is a plain ratio",
        "edgeclip/evaluation/chance.py",
        "(student - chance) / (teacher - chance) if",
        "student / teacher if",
        "tests/comparison/test_retention.py tests/chain/demo/test_criteria.py",
    ),
    Mutant(
        "answers of one label pass",
        "edgeclip/evaluation/chance.py",
        "return 1 + COLLAPSED * (classes - 1)",
        "return 1.0",
        "tests/reporting/test_criteria.py",
    ),
    Mutant(
        "two clients measure one device at once",
        "edgeclip/measurement/agent.py",
        'if fresh and held.get("token") != token:',
        "if held is None:",
        "tests/measurement/test_devices.py",
    ),
    Mutant(
        "a cut tar is a shorter one",
        "edgeclip/base/tars.py",
        'raise FormatError(f"{path}: truncated, its end is missing: fetch it again")',
        "return",
        "tests/images/test_as_people_have_them.py",
    ),
    Mutant(
        "the large classes choose a probe's strength",
        "edgeclip/evaluation/probe.py",
        "tried[strength] = mean_per_class(model.predict(val.image_embeds) == val.labels, val.labels)",
        "tried[strength] = float((model.predict(val.image_embeds) == val.labels).mean())",
        "tests/images/test_as_people_have_them.py",
    ),
    Mutant(
        "what cannot run is called wrong",
        "edgeclip/runtime/golden.py",
        "ran=name not in failed",
        "ran=True",
        "tests/measurement/test_devices.py",
    ),
)


def main() -> None:
    """Try them, one line each."""
    words = sys.argv[1:]
    chosen = [one for one in MUTANTS if not words or any(word in one.title for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder))
        if stale := [f"{one.title}: {one.file}" for one in MUTANTS if not _fits(one, tree)]:
            sys.exit("their files no longer hold, once, what they change:\n" + "\n".join(stale))
        survivors = [one.title for one in chosen if not killed(one, tree)]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} are seen" + "".join(f"\nSURVIVES: {t}" for t in survivors))
    sys.exit(1 if survivors else 0)


def copied(folder: Path) -> Path:
    """The tree as it is installed, see setup.py: export and profiles lie within the package."""
    for part in PARTS:
        source = ROOT / part
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / part)
    for part, name in (("export", "exporting"), ("profiles", "profiles")):
        (folder / "edgeclip" / name).symlink_to(folder / part)
    return folder


def _fits(mutant: Mutant, tree: Path) -> bool:
    file = tree / mutant.file
    return file.is_file() and file.read_text(encoding="utf-8").count(mutant.old) == 1


def killed(mutant: Mutant, tree: Path) -> bool:
    """Whether a test fails with the change, and passes without."""
    file = tree / mutant.file
    text = file.read_text(encoding="utf-8")
    if mutant.tests not in GREEN:
        if not passes(mutant, tree):
            raise SystemExit(f"{mutant.title}: {mutant.tests} fail without it")
        GREEN.add(mutant.tests)
    file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        seen = not passes(mutant, tree)
    finally:
        file.write_text(text, encoding="utf-8")
    print(f"{'seen' if seen else 'SURVIVES':8} {mutant.title}", flush=True)
    return seen


def passes(mutant: Mutant, tree: Path) -> bool:
    """Whether the tests of its room pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not gpu", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*command, *mutant.tests.split()], cwd=tree, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    main()

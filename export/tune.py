"""Which precision pays here? Every candidate is tried in a process of its own, judged, and timed in turns with fp32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.console import say
from ..device.facts import target_here
from ..runtime import choice
from ..runtime.choice import recommend
from ..runtime.engines.protocol import Engine, Session
from ..runtime.manifest import Fidelity, Tried
from ..runtime.target import Precision
from ..runtime.timing import interleaved
from ..runtime.trial import try_graph
from .fp16 import rounds_halves
from .halfcheck import Unknown, run_in_half
from .int8 import Calibrated, Recipe, first_choices, recipe_for, second_choices
from .sensitivity import Sensitivity, rank_blocks, restored
from .validate import EvaluationSet, Gate, compare, with_accuracy

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
SECONDS = 3.0  # of timing
RANKED_ON = 32  # images
CUT_OFF = (
    "int8 beside fp16 looks worse than it is, for this onnxruntime cuts off where it should round: more may stay in"
    " fp16 than must (1.30 judges rightly: it needs Python 3.11)"
)


@dataclass
class Candidate:
    """One way to run the tower, on its way into the bundle or out of it."""

    name: str
    precision: Precision
    file: Path
    recipe: dict[str, Any]
    as_written: bool = False  # its recipe is another machine's: this one's int8 kernels say nothing of it
    fidelity: Fidelity | None = None
    relative_speed: float | None = None  # fp32's p50 over this one's
    problem: str | None = None

    def tried(self, outcome: str) -> Tried:
        """The row of the table."""
        return Tried(
            name=self.name,
            precision=self.precision,
            fidelity=self.fidelity,
            relative_speed=self.relative_speed,
            outcome=outcome,
        )


@dataclass(frozen=True)
class Judge:
    """What runs the candidates: the target's own engine and provider where this machine is the target."""

    engine: Engine
    provider: str | None
    threads: int


@dataclass
class Tuner:
    """What the candidates are judged with, and all of them so far."""

    reference: NDArray[np.float32]  # torch's embeddings of `pixels`
    pixels: NDArray[np.float32]  # [N, 3, S, S], images that set no range
    judge: Judge
    gate: Gate
    evaluation_set: EvaluationSet | None = None
    evaluation_reference: NDArray[np.float32] | None = None
    candidates: list[Candidate] = field(default_factory=list)
    ranking: list[Sensitivity] = field(default_factory=list)
    steps: list[tuple[int, float]] = field(default_factory=list)  # blocks in float -> mean cosine

    def enter(self, candidate: Candidate) -> bool:
        """Try and judge a candidate; whether it passes the gate."""
        trial = try_graph(candidate.file, self.pixels, engine=self.judge.engine.name, **self._settings(candidate))
        candidate.problem = trial.problem
        if not trial.problem:
            candidate.fidelity = compare(self.reference, trial.embeds)
            if self.evaluation_set is not None and self.evaluation_reference is not None:
                embeds = self._embed(candidate, self.evaluation_set.pixels)
                candidate.fidelity = with_accuracy(
                    candidate.fidelity, self.evaluation_set, self.evaluation_reference, embeds
                )
            if "fp16" in (candidate.precision, candidate.recipe.get("rest")):
                self._judge_in_half(candidate)
        self.candidates.append(candidate)
        return self.faithful(candidate)

    def _judge_in_half(self, candidate: Candidate) -> None:
        """The engine's answer may be fp32's in disguise: what counts is the worse of it and of true half precision."""
        fidelity = candidate.fidelity
        assert fidelity is not None
        try:
            embeds = run_in_half(candidate.file, self.pixels[:1])
        except Unknown as error:
            say(f"whether fp16 overflows where half precision is half is unknown here: {error}")
            candidate.recipe["cosine_in_half"] = None
            return
        in_half = compare(self.reference[:1], embeds)
        candidate.recipe["cosine_in_half"] = in_half.cosine_mean
        if in_half.cosine_mean < 0:
            candidate.problem, candidate.fidelity = "in half precision it gives NaN or infinity", None
            return
        worse = {name: min(getattr(fidelity, name), in_half.cosine_mean) for name in ("cosine_mean", "cosine_worst")}
        candidate.fidelity = fidelity.model_copy(update=worse)

    def faithful(self, candidate: Candidate) -> bool:
        """Whether it ran, and passes the gate; in true half precision, without an evaluation set, by its cosine."""
        half = candidate.recipe.get("cosine_in_half")
        if candidate.fidelity is None or (half is not None and half < self.gate.cosine):
            return False
        return self.gate.passes(candidate.fidelity)

    def enter_int8(self, calibrated: Calibrated, base: Recipe, folder: Path) -> None:
        """Enter the recipes that make sense for a target, the costlier ones only where the cheap ones fail."""
        if base.fused and not rounds_halves():
            say(CUT_OFF)
        made = {recipe: self._enter_recipe(calibrated, recipe, folder) for recipe in first_choices(base, calibrated)}
        if not any(map(self.faithful, made.values())):
            for recipe in second_choices(base, calibrated):
                made[recipe] = self._enter_recipe(calibrated, recipe, folder)
        ran = {recipe: candidate for recipe, candidate in made.items() if candidate.fidelity}
        if not ran or any(map(self.faithful, ran.values())):
            return
        best = max(ran, key=lambda recipe: ran[recipe].fidelity.cosine_mean)  # type: ignore[union-attr]
        self.restore(calibrated, best, folder)

    def restore(self, calibrated: Calibrated, recipe: Recipe, folder: Path) -> None:
        """Rank the blocks, and enter the recipe with ever more of the worst in float, until one passes the gate."""
        scratch = folder / "ranked.onnx"

        def embed(recipe: Recipe) -> NDArray[np.float32]:
            calibrated.write(scratch, recipe)
            tried = Candidate("", "int8", scratch, {}, as_written=self._elsewhere(recipe))
            return self._embed(tried, self.pixels[:RANKED_ON])

        say(f"no int8 recipe meets the fidelity threshold: ranking the blocks by their int8 error ({recipe.title})")
        self.ranking = rank_blocks(calibrated, recipe, embed, self.reference[:RANKED_ON])
        scratch.unlink(missing_ok=True)
        for attempt in restored(recipe, self.ranking):
            entered = self._enter_recipe(calibrated, attempt, folder)
            if entered.fidelity:
                self.steps.append((len(attempt.kept_float), entered.fidelity.cosine_mean))
            if self.faithful(entered):
                return

    def time(self, seconds: float = SECONDS) -> None:
        """Speed of every candidate that ran against fp32's: in turns, on one image, on the target."""
        image = self.pixels[:1]
        runs: dict[str, Callable[[], object]] = {}
        for candidate in self.candidates:
            if candidate.fidelity:
                runs[candidate.name] = partial(self._open(candidate).run, image)
        times = interleaved(runs, seconds=seconds)
        for candidate in self.candidates:
            if candidate.name in times:
                candidate.relative_speed = times["fp32"].p50 / times[candidate.name].p50

    def best(self, precision: Precision) -> Candidate | None:
        """Of one precision: the fastest that passes the gate, or the most faithful where none does."""
        fitting = [c for c in self.candidates if c.precision == precision and c.fidelity]
        return fastest([c for c in fitting if self.faithful(c)]) or max(fitting, key=_cosine, default=None)

    def recommended(self, kept: Sequence[Candidate]) -> Candidate:
        """The fastest of ``kept`` that passes the gate and is clearly faster than fp32; else fp32."""
        faithful = {place: _speed_and_cosine(c) for place, c in enumerate(kept) if self.faithful(c)}
        place = recommend(faithful)
        return next(c for c in kept if c.precision == "fp32") if place is None else kept[place]

    def table(self, kept: Sequence[Candidate], recommended: Candidate | None) -> list[Tried]:
        """What was tried, and what became of it."""
        return [candidate.tried(self._outcome(candidate, kept, recommended)) for candidate in self.candidates]

    def _outcome(self, candidate: Candidate, kept: Sequence[Candidate], recommended: Candidate | None) -> str:
        if candidate.problem:
            return f"skipped: {candidate.problem}"
        dropped = "another was more faithful" if recommended is None else "another was better"
        words = "recommended" if candidate is recommended else "kept" if candidate in kept else dropped
        return words if self.faithful(candidate) else f"{words}, below the threshold"

    def _enter_recipe(self, calibrated: Calibrated, recipe: Recipe, folder: Path) -> Candidate:
        file = folder / f"candidate-{len(self.candidates)}.onnx"
        calibrated.write(file, recipe)
        candidate = Candidate(recipe.title, "int8", file, recipe.describe(), as_written=self._elsewhere(recipe))
        self.enter(candidate)
        return candidate

    def _elsewhere(self, recipe: Recipe) -> bool:
        """Whether a recipe is for another engine, or another machine, than what judges it."""
        return recipe.name != recipe_for(target_here(self.judge.engine.name)).name

    def _embed(self, candidate: Candidate, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        session = self._open(candidate)
        return np.concatenate([session.run(pixels[i : i + 16]) for i in range(0, len(pixels), 16)])

    def _open(self, candidate: Candidate) -> Session:
        return self.judge.engine.open(candidate.file, **self._settings(candidate))

    def _settings(self, candidate: Candidate) -> dict[str, Any]:
        settings: dict[str, Any] = {"precision": candidate.precision, "as_written": candidate.as_written}
        return {**settings, "threads": self.judge.threads, "provider": self.judge.provider}


def fastest(candidates: Sequence[Candidate]) -> Candidate | None:
    """The fastest; of those that are as fast but for noise, the most faithful."""
    place = choice.fastest({place: _speed_and_cosine(candidate) for place, candidate in enumerate(candidates)})
    return None if place is None else candidates[place]


def _speed_and_cosine(candidate: Candidate) -> tuple[float, float]:
    return candidate.relative_speed or 0, _cosine(candidate)


def _cosine(candidate: Candidate) -> float:
    return candidate.fidelity.cosine_mean if candidate.fidelity else -1

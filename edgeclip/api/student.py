"""Which student fits a device, and teaching it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.errors import EdgeclipError, require
from ..chain.trials import Trials, rank
from ..data.training import TrainingData
from ..distillation.config import DistillConfig, example
from ..encoder import Encoder
from ..profiling.schema import Budget
from ..runtime.target import Precision
from ..selection.config import SelectConfig
from ..selection.texttowers import text_advice
from .opening import ProfileLike, SpecLike, as_profile, as_spec, as_teacher, refuse_no_budget, run_path

if TYPE_CHECKING:
    from ..distillation.grounding import Selection
    from ..distillation.run import Run
    from ..models.listing import Listed
    from ..towers.spec import StudentSpec

__all__ = [
    "DistillConfig",
    "SelectConfig",
    "TrainingData",
    "Trials",
    "distill",
    "example",
    "front_svg",
    "list_teachers",
    "resume",
    "select",
    "select_texts",
    "text_advice",
]


def select(
    profile: ProfileLike,
    budget: Budget | None = None,
    *,
    max_image_size: int = 224,
    precisions: Sequence[Precision] = (),
    top: int = 10,
    measure: bool = True,
    trials: Trials | None = None,
) -> list[StudentSpec]:
    """Rank the students within the budget by expected accuracy, the best first. ``.save(path)`` writes a spec.

    Args:
        profile: of the device: an object, a file or a shipped name.
        budget: what the student may cost; None: the profile's own, which must then limit something. ``Budget()``
            limits nothing.
        max_image_size: the largest input, px.
        precisions: those to choose from; all that the profile has when empty.
        top: how many to return at most; near-identical ones are left out.
        measure: whether the best candidates are built and timed, where this machine is the profile's device.
        trials: trains as many students briefly, and ranks them by top-1 instead.

    Raises:
        EdgeclipError: no budget, or the profile has none of the precisions.
        BudgetError: nothing fits; the text names the nearest that exists.
    """
    from ..base.console import say
    from ..chain.steps import graph_writer
    from ..selection import select as ranked

    profile = as_profile(profile)
    if budget is None:
        refuse_no_budget(profile)
    writer, why = graph_writer(profile, wanted=measure)
    specs = ranked(
        profile,
        profile.budget if budget is None else budget,
        max_image_size=max_image_size,
        precisions=precisions or None,
        top=trials.count if trials else top,
        write_graph=writer,
        every=trials is not None,  # whoever may be trained is timed before
    )
    if writer is None:
        say(why)
    return rank(specs, trials) if trials else specs


def front_svg(
    specs: Sequence[StudentSpec],
    profile: ProfileLike,
    budget: Budget | None = None,
    *,
    max_image_size: int = 224,
    precisions: Sequence[Precision] = (),
    measure: bool = True,
) -> str:
    """A plot (SVG) of latency against score: the Pareto front, the budget, and the students that :func:`select` gave.

    The arguments are those that :func:`select` was called with.
    """
    from ..chain.steps import graph_writer
    from ..selection.front import front
    from ..selection.front import front_svg as drawn
    from ..selection.select import survey

    profile = as_profile(profile)
    limits, timed = profile.budget if budget is None else budget, graph_writer(profile, wanted=measure)[0] is not None
    candidates = survey(profile, max_image_size=max_image_size, precisions=precisions or None, to_measure=timed)
    return drawn(front(candidates, limits), specs, candidates, profile, limits)


def distill(
    profile: ProfileLike,
    teachers: str | Encoder | Sequence[str | Encoder],
    data: TrainingData,
    out: str | Path,
    *,
    spec: SpecLike | None = None,
    selection: SelectConfig | None = None,
    config: DistillConfig | None = None,
    dataset: str | Path | None = None,
) -> Run:
    """Select the best student within the device's budget and train it on unpaired images and sentences.

    One batch goes through the whole chain first. An interrupted run goes on with :func:`resume`.

    Args:
        profile: of the device: an object, a file or a shipped name.
        teachers: one or several, by name (``ViT-B-16:openai``, ``local-dir:…``, ``module:factory``) or opened; several
            are averaged.
        data: images and sentences.
        out: the run's folder.
        spec: the student to train, instead of selecting one.
        selection: how the student is selected; by the profile's budget when None.
        config: settings of the training; the defaults when None.
        dataset: labelled images to validate on while it trains; the best weights are kept.

    Raises:
        EdgeclipError: an input is missing or unfit, ``out`` is in the way, or the chain does not work as it is.
        BudgetError: no student fits.
    """
    require("torch", "distill")
    from ..chain.rehearsal import rehearse
    from ..chain.steps import chosen_student, validation_on
    from ..data.sentences import read_templates, refuse_unfit
    from ..distillation.pipeline import distill as train
    from ..distillation.run import refuse_in_the_way
    from ..images.sources import refuse_missing

    # What can be wrong is looked at first, in the order of what it takes: the teacher last.
    profile, selection, out = as_profile(profile), selection or SelectConfig(), Path(out)
    given = None if spec is None else as_spec(spec)
    if selection.budget is not None:
        profile = profile.model_copy(update={"budget": selection.budget})
    elif given is None:
        refuse_no_budget(profile)
    validation = validation_on(dataset) if dataset else None
    refuse_missing(str(data.images))
    refuse_unfit(data.sentences, classes=data.classes is not None)
    read_templates(data.templates)
    refuse_in_the_way(out)
    opened = [as_teacher(teacher) for teacher in ([teachers] if isinstance(teachers, (str, Encoder)) else teachers)]
    if not opened:
        raise EdgeclipError("no teacher: give one or more")
    chosen = chosen_student(profile, opened[0].image_size, given=given, selection=selection)
    return train(chosen, opened, data, out, config=config or DistillConfig(), validation=validation, rehearsal=rehearse)


def resume(run: Run | str | Path, *, trust: bool = False) -> Run:
    """Resume an interrupted run with all its settings; it ends with the weights that it would have had.

    Args:
        run: its folder.
        trust: run the teacher code (``module:factory``) that somebody else's run names.

    Raises:
        EdgeclipError: there is no run, it names code and is not trusted, or its inputs changed.
    """
    require("torch", "distill")
    from ..chain.loading import open_teacher, refuse_code
    from ..chain.steps import validation_on
    from ..distillation.pipeline import distill as train
    from ..distillation.run import Run

    opened = Run.open(run_path(run))
    document = opened.document
    if not (trust or opened.ours):
        refuse_code(document.teachers, opened.path)
    teachers = [open_teacher(name) for name in document.teachers]
    validation = validation_on(document.dataset) if document.dataset else None
    data = document.data
    return train(document.spec, teachers, data, opened.path, config=document.config, validation=validation, resume=True)


def select_texts(
    images: str | Path,
    corpus: str | Path,
    teacher: str | Encoder,
    out: str | Path,
    *,
    neighbours: int = 8,
    cap: int = 8,
    store: Path | None = None,
    force: bool = False,
) -> Selection:
    """Keep the sentences of a large corpus that match the images, in ``out`` (.jsonl), with the reasons.

    Args:
        images: as in :class:`TrainingData`.
        corpus: candidates, one a line, or .jsonl, .parquet; compressed ones too.
        teacher: its embeddings match sentences with images.
        out: the file to write; a summary lies beside it.
        neighbours: the nearest sentences that each image votes for.
        cap: votes that a sentence accepts at most.
        store: a folder for the teacher's embeddings; beside ``out`` when None.
        force: whether what an earlier call wrote may be replaced.

    Raises:
        EdgeclipError: an input is missing or unfit, or ``out`` is in the way.
    """
    require("torch", "distill")
    from ..distillation.grounding import check_out, select_sentences

    corpus, out = Path(corpus), Path(out)
    check_out(out, force=force)
    return select_sentences(str(images), corpus, as_teacher(teacher), out, neighbours=neighbours, cap=cap, store=store)


def list_teachers(word: str = "") -> list[Listed]:
    """The pretrained models that can be the teacher and have ``word`` in their name.

    Raises:
        MissingExtra: open_clip is not installed.
        EdgeclipError: none has.
    """
    require("open_clip", "distill")
    from ..models.listing import list_teachers as listed

    teachers = listed(word)
    if not teachers:
        raise EdgeclipError(f"no teacher has {word!r} in its name: edgeclip teachers lists all")
    return teachers

"""Say which label fits each image."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..encoder import Encoder
    from .labels import LabelScorer
    from .towerjob import RuntimeOptions

AT_ONCE = 8  # images: enough for the engine, few enough to be held decoded, whatever their size
SCALE = 100.0  # of an encoder that does not tell its own: CLIP's
PATIENCE = 2.0  # seconds that pass before progress is shown


@dataclass(frozen=True)
class ImageAnswer:
    """The likeliest labels of one image, or why it cannot be read."""

    image: str  # its file
    labels: list[tuple[str, float]] = field(default_factory=list)  # with their probabilities, the likeliest first
    problem: str = ""

    def as_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        answer = {"problem": self.problem} if self.problem else {"labels": self.labels}
        return {"image": self.image, **answer}


def classify(
    model: Path | Encoder,
    images: Sequence[Path],
    labels: str | list[str] | None = None,
    *,
    precision: str | None = None,
    threads: int | None = None,
    engine: str | None = None,
    provider: str | None = None,
    top: int | None = None,
) -> list[ImageAnswer]:
    """The likeliest labels of each image with their probabilities, or the ``problem`` of one that cannot be read.

    Args:
        model: a bundle's folder or archive, or anything that encodes, of which the next four say nothing.
        images: as :func:`image_paths` reads them.
        labels: a list, or as in :func:`~edgeclip.runtime.labels.read_labels`; None: the classes of a bundle without
            text tower.
        precision: the one that the bundle chooses where None.
        threads: all cores where None.
        engine: what executes the image tower; the target's where None, as its provider.
        provider: of the engine.
        top: how many labels of each image; ten where None.

    Raises:
        EdgeclipError: no bundle, no labels, no images, or none of them can be read.
    """
    from ..base.console import progress_bar, say
    from ..base.errors import EdgeclipError
    from .labels import distinct_labels, read_labels
    from .towerjob import AS_TARGET, RuntimeOptions

    names = read_labels(labels, say) if isinstance(labels, str) else labels and distinct_labels(labels, say)
    files = image_paths(images)
    options = RuntimeOptions(engine, provider, threads)
    if isinstance(model, Path):
        encoder, scorer = _of_bundle(model, names, top, precision, options)
    elif precision or options != AS_TARGET:
        raise EdgeclipError("--precision, --threads, --engine and --provider are of a bundle: export the model first")
    else:
        encoder, scorer = _of_model(model, names, top)
    answers: list[ImageAnswer] = []
    with progress_bar("classify", len(files), after=PATIENCE) as bar:
        for start in range(0, len(files), AT_ONCE):
            part, problems = _read(files[start : start + AT_ONCE])
            ranked = iter(scorer.best(encoder.encode_image(part))) if part else iter(())
            for file, problem in problems.items():
                answers.append(ImageAnswer(file, [] if problem else next(ranked), problem))
            bar.advance(len(problems))
    failed = [answer.problem for answer in answers if answer.problem]
    if len(failed) == len(answers):
        raise EdgeclipError(failed[0] + (f" (and {len(failed) - 1} others)" if failed[1:] else ""))
    return answers


def _of_bundle(
    path: Path, names: list[str] | None, top: int | None, precision: str | None, options: RuntimeOptions
) -> tuple[Encoder, LabelScorer]:
    """The text tower is gone before the image tower is opened: never both in memory."""
    from .bundle import Bundle
    from .labels import SHOWN, LabelScorer

    opened = Bundle.open(path)
    manifest, text = opened.manifest, opened.encoder(**asdict(options))
    if names is None:
        names = text.phrases.labels if text.phrases else _no_labels()
    scorer = LabelScorer(names, text.encode_text, manifest.logit_scale, manifest.logit_bias, shown=top or SHOWN)
    return opened.encoder(precision, **asdict(options)), scorer


def _of_model(model: Encoder, names: list[str] | None, top: int | None) -> tuple[Encoder, LabelScorer]:
    from .labels import SHOWN, LabelScorer

    scale, bias = getattr(model, "logit_scale", SCALE), getattr(model, "logit_bias", None)
    return model, LabelScorer(names or _no_labels(), model.encode_text, scale, bias, shown=top or SHOWN)


def _no_labels() -> list[str]:
    from ..base.errors import EdgeclipError

    raise EdgeclipError(
        'labels are missing: --labels "a cat,a dog", a text file with one label per line, or a folder of class folders'
    )


def _read(files: Sequence[Path]) -> tuple[list[Any], dict[str, str]]:
    """The images that can be read, and of every file what is the matter with it: an empty text where nothing is."""
    from ..base.decode import UnreadableImage, read_image

    images, problems = [], {}
    for file in files:
        try:
            images.append(read_image(file))
            problems[str(file)] = ""
        except UnreadableImage as error:
            problems[str(file)] = str(error)
    return images, problems


def image_paths(given: Sequence[Path]) -> list[Path]:
    """Image files: each by its name, those below a folder, those that a pattern matches, those that a ``.txt`` lists.

    Raises:
        EdgeclipError: a folder, a pattern or a list has none.
    """
    from ..base.errors import EdgeclipError

    paths: dict[Path, None] = {}
    for path in given:
        files = list(_below(path))
        if not files:
            raise EdgeclipError(f"{path}: no images there")
        paths |= dict.fromkeys(files)
    return list(paths)


def _below(path: Path) -> Iterator[Path]:
    import glob

    from ..base.lines import read_lines
    from ..base.pictures import image_files

    if path.is_dir():
        yield from (path / name for name in sorted(image_files(path)))
    elif path.suffix == ".txt" and path.is_file():
        yield from map(Path, read_lines(path))
    elif glob.has_magic(str(path)) and not path.exists():
        yield from map(Path, sorted(glob.glob(str(path), recursive=True)))  # noqa: PTH207 (absolute patterns too)
    else:
        yield path

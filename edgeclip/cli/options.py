"""What the commands share: options, the group that lists them and words their mistakes, and the voice on stderr."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem


def shipped(package: str, folder: str = ".") -> Any:
    """Completes the names of the TOML files that lie in a folder of ``package``."""

    def complete(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
        from importlib.resources import files

        names = (Path(file.name) for file in (files(package) / folder).iterdir())
        return sorted(name.stem for name in names if name.suffix == ".toml" and name.stem.startswith(typed))

    return complete


def complete_models(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Completes teachers of known accuracy, for which open_clip need not be loaded; and files, as a shell does."""
    from importlib.resources import files

    rows = (files("edgeclip.models") / "teachers.csv").read_text(encoding="utf-8").splitlines()[1:]
    names = ["demo", *(row.partition(",")[0] for row in rows)]
    return [*(CompletionItem(name) for name in names if name.startswith(typed)), CompletionItem(typed, type="file")]


MOST = 1e9  # of any unit


class Colour(click.ParamType):
    """rrggbb, as ``ffffff`` for white: no ``#`` before it, at which a shell would begin a comment."""

    name = "RRGGBB"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        if not re.fullmatch(r"[0-9a-f]{6}", low := value.removeprefix("#").lower()):
            self.fail(f"{value!r} is no colour: six hexadecimal digits, rrggbb, as ffffff for white", param, ctx)
        return low


class Number(click.FloatRange):
    """A number within bounds: what is none, or beyond all reason, is refused too."""

    def __init__(self, low: float, high: float = MOST, *, above: bool = False) -> None:
        """``above``: ``low`` itself is out of bounds."""
        super().__init__(low, high, min_open=above)
        self._bounded = high != MOST

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click's, which lets NaN pass: it is neither below nor above anything."""
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value} is not a number.", param, ctx)
        return number

    def _describe_range(self) -> str:
        """Bounds that a user may meet, in the help."""
        return super()._describe_range() if self._bounded else ""


class Threads(click.IntRange):
    """So many threads as can be of use here: four a core."""

    A_CORE = 4

    def __init__(self) -> None:
        super().__init__(1, 1024)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse what would only be in its own way; of another device's cores nothing is known yet."""
        from ..api.device import usable_cores

        number, cores = super().convert(value, param, ctx), usable_cores()
        most, elsewhere = self.A_CORE * cores, ctx is not None and isinstance(ctx.params.get("device"), str)
        if number > most and not elsewhere:
            self.fail(f"{number} threads are too many for {cores} cores: use at most {most}.", param, ctx)
        return number


# What the system says of paths, and what it speaks of where it names none.
REFUSED = {
    errno.ENOENT: "the working folder is gone, change to another",
    errno.ENAMETOOLONG: "a name",
    errno.EACCES: "a file",
    errno.EPERM: "a file",
    errno.EROFS: "a file",
    errno.ELOOP: "a link",
    errno.ENOSPC: "standard output",
    errno.EIO: "a disk",
}
INTERRUPTED, TERMINATED = 130, 143  # what shells report of a program that a signal ended: 128 + SIGINT, SIGTERM
PATH = click.Path(path_type=Path)
PROFILES = shipped("edgeclip.profiles")
PROFILE = click.option(
    "--profile",
    "profile_name",
    required=True,
    metavar="P",
    help="Device profile: a shipped name or a TOML file.",
    shell_complete=PROFILES,
)
PRECISIONS = click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="Use only these precisions.",
)
NO_BUDGET = click.option("--no-budget", is_flag=True, help="Set no limit: take the student of the highest score.")
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout; progress goes to stderr."
)
THREADS = click.option(
    "--threads", type=Threads(), help="CPU threads.  [default: as many as the target uses, else all available cores]"
)
FORCE = click.option("--force", is_flag=True, help="Overwrite earlier output of edgeclip, nothing else.")
NO_MEASURE = click.option(
    "--no-measure",
    is_flag=True,
    help="Rank by predicted latency alone; do not time the top candidates on this device.",
)

ENGINE = click.option(
    "--engine",
    metavar="NAME",
    help="Inference engine: onnxruntime, tensorrt, tensorrt-rtx.  [default: the target's]",
)
TRUST = click.option(
    "--trust", is_flag=True, help="Run the teacher code (module:factory) that somebody else's run or project names."
)
FEW_IMAGES = click.option(
    "--few-images", is_flag=True, help="Judge accuracy even where more images would be needed to decide it."
)
PROVIDER = click.option("--provider", metavar="NAME", help="Execution provider of the engine.  [default: the target's]")
DEVICE = click.option(
    "--device",
    is_eager=True,  # whose cores --threads are of
    metavar="URL",
    help="ssh://[user@]host[:port][/python] or adb://SERIAL[/python]; with ?folder=PATH files are put there."
    "  [default: this machine]",
)


class Commands(click.Group):
    """Lists the commands in the order of the pipeline, and turns a user's mistake into one line and exit 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands as they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an EdgeclipError becomes its one line, anything else is a bug with its traceback.

        What the system refuses of a file that was named is no bug: the line is the system's.
        """
        from ..base.errors import EdgeclipError, Terminated

        try:
            Path.cwd()
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except click.UsageError as error:
            help_of = error.ctx.command_path if error.ctx else ctx.command_path
            message = " ".join(error.format_message().split())
            _complain(f"{message} More: {help_of} --help")
            ctx.exit(error.exit_code)
        except EdgeclipError as error:
            _complain(str(error))
            ctx.exit(error.exit_code)
        except OSError as error:
            if error.errno not in REFUSED:
                raise
            _complain(f"{error.filename or _unnamed(error.errno)}: {error.strerror}")
            ctx.exit(2)
        except MemoryError as error:
            _complain(f"too little memory for this ({error or 'none is left'}): end other programs, or ask for less")
            ctx.exit(2)
        except KeyboardInterrupt as error:
            click.echo("edgeclip: interrupted", err=True)
            ctx.exit(TERMINATED if isinstance(error, Terminated) else INTERRUPTED)


def _unnamed(number: int) -> str:
    """What the system speaks of where it names no file."""
    from ..base.files import free_bytes
    from ..base.scratch import ROOM

    if number != errno.ENOSPC:
        return REFUSED[number]
    scratch = Path(tempfile.gettempdir())
    if free_bytes(scratch) < ROOM:
        return f"{scratch}, the folder for temporary files (TMPDIR names another)"
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to be flushed at the end
    return REFUSED[number]


def _complain(line: str) -> None:
    """A mistake's one line, on stderr."""
    from ..base.visible import visible

    click.echo(f"edgeclip: {visible(line)}", err=True)


def budget_options(command: Any) -> Any:
    """The four lines of a budget, each overriding the profile's."""
    for flag, help_text in (
        ("--accuracy-drop", "Maximum top-1 loss against the teacher, percentage points."),
        ("--size-mb", "Maximum file size of the image tower, MB."),
        ("--memory-mb", "Maximum peak memory of inference, MB."),
        ("--latency-ms", "Maximum p90 latency of one image, ms."),
    ):
        command = click.option(flag, type=Number(0, above=True), help=help_text)(command)
    return command


@contextmanager
def if_interrupted(advice: str) -> Iterator[None]:
    """After Ctrl-C, say how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        tell(advice)
        raise


def tell(text: str) -> None:
    """One line for people, on stderr."""
    from ..base.console import say

    say(text)

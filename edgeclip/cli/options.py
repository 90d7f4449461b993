"""What the commands share: options, the group that lists them and words their mistakes, and the voice on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click


def shipped(package: str, folder: str = ".") -> Any:
    """Completes the names of the TOML files that lie in a folder of ``package``."""

    def complete(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
        from importlib.resources import files

        names = (Path(file.name) for file in (files(package) / folder).iterdir())
        return sorted(name.stem for name in names if name.suffix == ".toml" and name.stem.startswith(typed))

    return complete


INTERRUPTED = 130  # what shells report of a program that Ctrl-C ended: 128 + SIGINT
PATH = click.Path(path_type=Path)
PROFILE = click.option(
    "--profile",
    "profile_name",
    required=True,
    metavar="P",
    help="A shipped name or a TOML file.",
    shell_complete=shipped("edgeclip.profiles"),
)
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout; chatter goes to stderr."
)
THREADS = click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads.  [default: all cores]")
NO_MEASURE = click.option(
    "--no-measure",
    is_flag=True,
    help="Believe the predictions: do not time finalists, even if the profile is of this device.",
)

DEVICE = click.option(
    "--device", metavar="URL", help="ssh://[user@]host[:port][/python] or adb://SERIAL[/python].  [default: this one]"
)


class Commands(click.Group):
    """Lists the commands in the order of the pipeline, and turns a user's mistake into one line and exit 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands as they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an EdgeclipError becomes its one line, anything else is a bug with its traceback."""
        from ..errors import EdgeclipError

        try:
            return super().invoke(ctx)
        except EdgeclipError as error:
            click.echo(f"edgeclip: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("edgeclip: interrupted", err=True)
            ctx.exit(INTERRUPTED)


def budget_options(command: Any) -> Any:
    """The four lines of a budget, each overriding the profile's."""
    for flag, help_text in (
        ("--accuracy-drop", "Allowed loss of top-1 against the teacher, points."),
        ("--size-mb", "Image tower on disk."),
        ("--memory-mb", "Peak memory of the process that encodes."),
        ("--latency-ms", "p90 of one image."),
    ):
        command = click.option(flag, type=click.FloatRange(min=0, min_open=True), help=help_text)(command)
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
    from ..console import say

    say(text)

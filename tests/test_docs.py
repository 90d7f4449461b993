"""The documentation speaks of what is there: commands and options, files, functions. `make docs` builds it strictly."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgeclip.cli import main

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def command_lines(text):
    """What shell blocks call edgeclip with, a list of words a call; lines that are broken are joined first."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text.replace("\\\n", " "), re.S | re.M)
    calls = [part for block in blocks for line in block.splitlines() for part in re.split(r"&&|\||ssh device ", line)]
    found = (re.match(r"\s*(?:torchrun .* -m )?edgeclip (.*)", call) for call in calls)
    return [shlex.split(match[1], comments=True) for match in found if match]


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_commands_in_a_page_are_commands(page):
    for words in command_lines(page.read_text(encoding="utf-8")):
        command = main
        while words and isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        known = {flag for parameter in command.params for flag in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known, words


def test_the_check_reads_something():
    found = [words for page in PAGES for words in command_lines(page.read_text(encoding="utf-8"))]
    assert len(found) > 15


def test_every_page_is_in_the_navigation():
    navigation = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    assert all(f": {page.name}\n" in navigation for page in PAGES)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("edgeclip reten", "retention"),
        ("edgeclip eval --sui", "--suite"),
        ("edgeclip select --profile rasp", "raspberry-pi-5"),
        ("edgeclip eval demo --suite el", "elevater"),
    ],
)
def test_the_shell_completes(typed, offered):
    words = typed.split()
    environment = {"_EDGECLIP_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    result = CliRunner().invoke(main, [], env=environment, prog_name="edgeclip")
    assert f"plain,{offered}" in result.output.splitlines()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_a_real_bash_takes_the_script():
    source = [sys.executable, "-c", "from edgeclip.cli import main; main(prog_name='edgeclip')"]
    environment = {**os.environ, "_EDGECLIP_COMPLETE": "bash_source"}
    script = subprocess.run(source, env=environment, capture_output=True, text=True, check=True).stdout
    asked = f"{script}\ncomplete -p edgeclip"
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert "_edgeclip_completion" in done.stdout

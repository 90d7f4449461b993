"""The documentation speaks of what is there: commands and options, files, functions. `make docs` builds it strictly."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgeclip.base.documents import read_document
from edgeclip.base.lines import read_lines
from edgeclip.chain.project import Project
from edgeclip.cli import main
from edgeclip.cli.distill import SETTINGS
from edgeclip.data.sentences import read_sentences
from edgeclip.device.doctor import PARTS
from edgeclip.distillation.config import DistillConfig, example
from edgeclip.evaluation.suite import load_suite
from edgeclip.towers.spec import read_spec

from .base.test_documents import every_kind

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
        ("edgeclip eval de", "demo"),
        ("edgeclip retention demo ViT-B-32:op", "ViT-B-32:openai"),
        ("edgeclip distill --teacher d", "demo"),
        ("edgeclip report b --teacher de", "demo"),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes(shell, typed, offered):
    words = typed.split()
    place = words[-1] if shell == "fish" else str(len(words) - 1)
    environment = {"_EDGECLIP_COMPLETE": f"{shell}_complete", "COMP_WORDS": typed, "COMP_CWORD": place}
    result = CliRunner().invoke(main, [], env=environment, prog_name="edgeclip")
    assert offered in re.split(r"[,\t\n]", result.output)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_pages_tell_how_to_complete(shell):
    assert f"_EDGECLIP_COMPLETE={shell}_source edgeclip" in (DOCS / "index.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_a_real_bash_takes_the_script():
    source = [sys.executable, "-c", "from edgeclip.cli import main; main(prog_name='edgeclip')"]
    environment = {**os.environ, "_EDGECLIP_COMPLETE": "bash_source"}
    script = subprocess.run(source, env=environment, capture_output=True, text=True, check=True).stdout
    asked = f"{script}\ncomplete -p edgeclip"
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert "_edgeclip_completion" in done.stdout


FORMATS = (DOCS / "formats.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r'^```(\w+) title="([^"]+)"\n(.*?)^```', FORMATS, re.S | re.M)


@pytest.mark.parametrize(("kind", "name", "content"), EXAMPLES, ids=[name for _, name, _ in EXAMPLES])
def test_the_examples_of_files_are_read(kind, name, content, tmp_path):
    (tmp_path / name).write_text(content)
    readers = {
        "a line of sentences.jsonl": lambda file: list(read_sentences(file)),
        "classnames.txt": lambda file: [line.split("\t")[1] for line in read_lines(file)],
        "settings.toml": lambda file: read_document(file, DistillConfig),
        "project.toml": lambda file: read_document(file, Project),
        "student.json": read_spec,
        "student.toml": read_spec,
        "suite.toml": lambda file: load_suite(str(file)),
    }
    assert readers[name](tmp_path / name)


def test_every_kind_of_document_is_told_of():
    settings = {"edgeclip-distill", "edgeclip-folder", "edgeclip-project"}  # which need not name their kind
    assert all(f"`{kind}`" in FORMATS or f'"{kind}"' in FORMATS for kind in every_kind() - settings)
    assert ".edgeclip.json" in FORMATS


def test_every_extra_is_in_the_table_with_its_size_and_the_doctor_knows_it():
    """The sizes are those that ``benchmarks/install_sizes.py`` measured."""
    extras = set(metadata.metadata("edgeclip").get_all("Provides-Extra"))
    found = json.loads((DOCS.parent / "benchmarks/results/install_sizes.json").read_text())["megabytes"]
    rows = re.findall(r"^\| (none|`[\w-]+`) \| [^|]+ \| ([^|]+) \|$", (DOCS / "index.md").read_text(), re.M)
    told = {name.strip("`"): size for name, size in rows}
    assert told.keys() == extras - {"dev", "docs"} | {"none"}
    for name, size in told.items():
        measured = found["" if name == "none" else name]
        assert size == "not measured" if measured is None else abs(float(size.split()[0]) - measured / 1e3) < 0.06
    assert {extra for _, _, extra in PARTS.values() if extra} == extras - {"dev", "docs"}


def test_the_page_of_settings_is_what_is_written():
    """``edgeclip distill --write-config FILE`` and the page say the same."""
    (block,) = re.findall(r"^```toml\n(.*?)^```", (DOCS / "settings.md").read_text(encoding="utf-8"), re.S | re.M)
    assert block == example()


def test_the_settings_that_are_written_are_the_defaults(tmp_path):
    (tmp_path / "a.toml").write_text(example())
    assert read_document(tmp_path / "a.toml", DistillConfig) == DistillConfig()
    for field in DistillConfig.model_fields:
        assert re.search(rf"^(# )?\[?{field}\b", example(), re.M), field


def test_the_flags_of_distill_tell_the_defaults():
    text = " ".join(CliRunner().invoke(main, ["distill", "--help"]).output.split())
    for name in ("epochs", "batch_size", "lr", "views", "seed", "mixed_precision"):
        flag = "--" + name.replace("_", "-")
        told = re.search(rf"{flag} .*?\[default: ([^\]]+)\]", text)
        assert told[1] == str(getattr(DistillConfig(), name)), flag


def test_the_exit_statuses_are_those_of_the_help():
    """A command is named beside each status that its help explains, and beside no other."""
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([034]) \| (.*) \|$", page, re.M))
    told = {status: set(re.findall(r"`(\w+)`", words)) for status, words in rows.items()}
    assert sorted(told) == ["0", "3", "4"]
    for name, command in main.commands.items():
        explained = " ".join((command.help or "").split()).partition("Exit 0")
        for status in ("3", "4"):
            assert (f" {status}: " in explained[2] or f" {status} or 4: " in explained[2]) == (name in told[status]), (
                name,
                status,
            )


def test_the_defaults_in_the_help_are_those_of_the_settings():
    options = {option.name: option for option in main.commands["distill"].params}
    for name in SETTINGS:
        told = re.search(r"\[default: (.*)\]", options[name].help)
        assert name == "compile" or told[1] == str(getattr(DistillConfig(), name)), name
    assert DistillConfig().compile is False, "a flag"

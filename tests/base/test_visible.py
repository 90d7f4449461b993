"""What comes from elsewhere is shown on a screen, not obeyed by it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from edgeclip.base.console import say
from edgeclip.base.errors import EdgeclipError
from edgeclip.base.visible import HIDDEN, escape, json_text, visible, without_secrets
from edgeclip.cli import tables
from edgeclip.reporting.page import html
from edgeclip.reporting.render import markdown, table

from ..reporting.test_report import make, row

HOSTILE = [
    "\x1b[2J\x1b[31mpassed",  # clears the screen
    "\x1b]0;owned\x07",  # the window's title
    "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
    "cat\rdog",  # writes over itself
    "\x9b31m",  # one byte that begins a sequence
    "a\u202egnp.exe",  # turned around
    "\u2066left\u2069",
    "a\u200bb",
    "line\u2028separator",
    "\x00\x08\x7f",
    "\U000e0041\U000e0042",  # tags that nobody sees
    "half\udce9",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_reaches_a_screen(text, capsys):
    assert not HIDDEN.search(visible(text))
    assert not HIDDEN.search(escape(text))
    say(text)
    tables.show(False, None, lambda: Group(Text(text), tables.table_of("a", text, title=text)))
    report = make(name=text, chain=[row("teacher", 0.6, 1.0), row(text, 0.6, 1.0, recommended=True, failed=text)])
    report = report.model_copy(update={"cautions": [text], "advice": [text], "commands": [text]})
    tables.show(False, None, lambda: table(report))
    tables.show(True, {"name": text}, lambda: "")
    captured = capsys.readouterr()
    for shown in (captured.out, captured.err, markdown(report), html(report)):
        assert not HIDDEN.search(shown), text
    last = captured.out[captured.out.rindex('{\n  "name"') :]
    assert json.loads(last) == {"name": text}, "a program gets what there is"


def test_cells_of_a_table_are_shown(capsys):
    told = Table("name")
    told.add_row(Text("\x1b[31mred"), style="bold")
    told.add_row("\u202eturned")
    tables.show(False, None, lambda: told)
    out = capsys.readouterr().out
    assert "\\x1b[31mred" in out and "\\u202eturned" in out


def test_what_people_write_stays_as_it_is():
    for text in ("Ünïcode", "猫の写真", "❤️ 👩‍👩‍👧", "می‌خواهم", "tab\there"):
        assert visible(text) == text
    assert visible("a\nb") == "a\\nb"
    assert visible("a\nb", lines=True) == "a\nb"


@given(st.text(st.characters(codec=None)))
def test_nothing_that_is_not_seen_is_left(text):
    assert not HIDDEN.search(visible(text))
    assert json.loads(json_text(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("https://me:secret@host/x.tar", "https://me:***@host/x.tar"),
        ("https://host/x.tar?X-Amz-Signature=abc&part=1", "https://host/x.tar?X-Amz-Signature=***&part=1"),
        ("https://host/{000..009}.tar?token=abc", "https://host/{000..009}.tar?token=***"),
        ("--images=https://me:secret@host/x", "--images=https://me:***@host/x"),
        ("https://sometoken@host/x", "https://***@host/x"),
        ("hf_abcdefghijklmnopqrstuvwx", "***"),
        ("https://host/x.tar?part=1", "https://host/x.tar?part=1"),
        ("photos/of:me@home", "photos/of:me@home"),
        ("ViT-B-16:openai", "ViT-B-16:openai"),
        ("ssh://pi@raspberry.local:22/usr/bin/python3", "ssh://pi@raspberry.local:22/usr/bin/python3"),
        ("http://[broken", "http://[broken"),
    ],
)
def test_no_secret_is_written_into_a_record(word, shown):
    assert without_secrets(word) == shown


def test_a_password_in_an_address_is_refused():
    from edgeclip.measurement.links import connect

    with pytest.raises(EdgeclipError, match="a password in an address") as refused:
        connect("ssh://pi:raspberry@10.0.0.1")
    assert "raspberry@" not in str(refused.value)


def test_a_mistake_is_told_in_one_line_whatever_its_name(tmp_path):
    from ..test_cli import run

    told = run("verify", tmp_path / "\x1b[2Jno\nbundle", expect=2).stderr
    assert told.count("\n") == 1
    assert not HIDDEN.search(told)


def test_a_wide_console_changes_nothing(capsys):
    Console(width=200).print(Text(visible("\x1b[31m")))
    assert "\\x1b" in capsys.readouterr().out

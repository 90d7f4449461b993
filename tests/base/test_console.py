"""Progress: a bar for eyes, a line now and then for logs, nothing for what is over at once."""

import io
import re

import pytest
from rich.console import Console

from edgeclip.base import console
from edgeclip.base.console import Progress, progress, progress_bar, say


@pytest.fixture
def log(monkeypatch):
    """What is written where stderr is no terminal."""
    written = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=written, highlight=False))
    return written


def test_a_log_tells_how_far_it_is(log, monkeypatch):
    monkeypatch.setattr(console, "EVERY", 0.0)
    with progress_bar("look", 4) as bar:
        bar.note("loss 0.5")
        bar.advance()
        bar.advance()
    assert re.search(r"^look: 1 of 4.*loss 0\.5$", log.getvalue(), re.M)
    assert re.search(r"^look: 2 of 4, [\d.e+]+ a second, \d:\d\d:\d\d left, loss 0\.5$", log.getvalue(), re.M)


def test_what_is_no_count_of_things_is_told_in_whole_units(log, monkeypatch):
    monkeypatch.setattr(console, "EVERY", 0.0)
    with progress_bar("probe", 60.0, unit="s") as bar:
        bar.advance(31.4159)
        bar.advance(0.01)
    assert re.search(r"^probe: 31 of 60 s(, \d:\d\d:\d\d left)?$", log.getvalue(), re.M)


def test_a_log_is_not_flooded(log):
    with progress_bar("look", 1000) as bar:
        for _ in range(1000):
            bar.advance()
    assert log.getvalue().count("look") == 1, "the closing line alone"


def test_what_is_soon_over_shows_nothing(log):
    with progress_bar("look", 2, after=3600) as bar:
        bar.advance()
    assert log.getvalue() == ""
    with progress_bar("look", 2, after=1e-9) as bar:
        bar.advance()
    assert "look" in log.getvalue()


def test_a_bar_that_needs_no_more_is_full(log):
    with progress_bar("look", 9) as bar:
        bar.advance()
        bar.enough()
    assert "1/1" in log.getvalue()


def test_a_callback_gets_all_of_it_and_stderr_nothing(log):
    told = []
    with progress(told.append):
        say("a \x1b[31mline")
        with progress_bar("distil", 2, unit="epochs") as bar:
            bar.note("loss 0.5")
            bar.advance()
    assert told == [Progress("a \\x1b[31mline"), Progress("distil", 1, 2, "epochs", "loss 0.5")]
    assert [str(one) for one in told] == ["a \\x1b[31mline", "distil: 1 of 2 epochs, loss 0.5"]
    assert log.getvalue() == ""
    say("again")
    assert log.getvalue() == "again\n", "stderr has its lines again after the block"

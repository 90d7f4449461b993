"""Addresses, names and patterns."""

import pytest

from edgeclip.base.errors import EdgeclipError
from edgeclip.base.visible import HIDDEN
from edgeclip.images.shardnames import expanded
from edgeclip.models.fetch import fetch_model

from ..test_cli import run
from .told import one_line

ADDRESSES = [
    *(
        "",
        " ",
        "pi",
        "pi@raspberry",
        "ssh:",
        "ssh:/",
        "ssh://",
        "ssh:///x",
        "SSH//pi",
        "ssh://:22",
        "ssh://pi@",
        "ssh://@",
    ),
    *(
        "ssh://pi@host:0",
        "ssh://pi@host:-1",
        "ssh://pi@host:65536",
        "ssh://pi@host:port",
        "ssh://pi@host:٣",
        "ssh://[::1",
    ),
    *(
        "ssh://pi:secret@host",
        "ssh://:secret@host",
        "ssh://pi:@host",
        f"ssh://{'h' * 5000}",
        f"ssh://pi@{'h.' * 200}x:22",
    ),
    *(
        "adb:",
        "adb:/",
        "adb://",
        "adb:///x",
        "adb:R58M",
        "abd://R58M",
        "adb//R58M",
        "usb://R58M",
        "http://host",
        "file:///x",
    ),
    *(
        "ftp://pi@host",
        "telnet://host",
        "javascript:alert(1)",
        "ssh ://pi",
        "ssh://\x1b[2J:x",
        "-oProxyCommand=touch x",
    ),
]


@pytest.mark.parametrize("address", ADDRESSES, ids=range(len(ADDRESSES)))
def test_an_address_that_is_none(address, bundle):
    done = run("verify", bundle.path, "--device", address, expect=2)
    assert done.stderr.count("\n") == 1 and len(done.stderr) < 500
    assert not HIDDEN.search(done.stderr)
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "../x",
        "a/../b",
        "/etc/passwd",
        "a/b/c",
        "-x",
        "a b",
        "a\\b",
        "",
        "a/",
        "/a",
        "\x1b[2J",
        "a//b",
        ".",
        "..",
    ],
)
def test_a_hub_name_that_is_none(name):
    with pytest.raises(EdgeclipError, match="no name that a hub could have"):
        fetch_model(name)


PATTERNS = [
    *(
        "x{0..100000000}.tar",
        "x{0..99999999999999999}.tar",
        "x{-5..99999999}.tar",
        "x{000..999}{000..999}{000..999}.tar",
    ),
    *("x{9..0..1}{0..9999999}.tar", "{a,b}" * 30, "x{0..9", "{{0..9}", "{0..999}" * 4, "x{1..2}{"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_of_too_many_shards_or_of_none(pattern):
    with pytest.raises(EdgeclipError) as error:
        expanded(pattern)
    one_line(error)


def test_there_are_enough_of_them():
    assert len(ADDRESSES) + len(PATTERNS) > 40

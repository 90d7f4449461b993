"""What a device answers."""

import json

import pytest

from edgeclip.base.errors import EdgeclipError
from edgeclip.measurement import replies
from edgeclip.measurement.replies import read_reply

from ..base.test_documents import MISSING, spoilt
from .told import one_line

ROW = {
    "opened": {
        "engine": "onnxruntime",
        "version": "1",
        "import_ms": 1.0,
        "load_ms": 1.0,
        "first_ms": 1.0,
        "peak_memory_mb": 50.0,
        "asked_provider": "CPUExecutionProvider",
        "providers": ["CPUExecutionProvider"],
    },
    "latency": {"p50": 1.0, "p90": 1.0, "p95": 1.0, "p99": 1.0, "max": 1.0},
    "samples_ms": [1.0, 1.0],
    "turns": [[0.1, 1.0]],
    "throughput": {"1": 10.0},
    "end_to_end": {"image": "x", "total_ms": {"p50": 1.0}, "decode_ms": 1, "preprocess_ms": 1, "inference_ms": 1},
    "hot_spots": {"operators": [{"operator": "Conv", "share": 1.0, "nodes": 1}], "fell_back": [], "on_provider": 1.0},
    "embeds": {"images": 2, "broken": [1]},
    "energy": {"millijoules_per_image": 1.0, "sensor": "rapl"},
}
MACHINE = {"machine": "m", "system": "s", "cpu": "c", "cores": 4, "memory_gb": 4.0, "features": []}
GOOD = {
    replies.Look: {"missing": [], "base": "/home/pi/.cache", "edgeclip": False, "free": 10},
    dict[str, replies.Blob]: {"0" * 64: {"whole": False, "part": 3}},
    replies.Claim: {"holder": "ada@desk"},
    replies.JobStarted: {"status": 0, "out": "{}", "complaint": ""},
    replies.Finished: {"good": True},
    replies.Kept: {"kept": 7},
    replies.State: {"state": "died", "why": "it did"},
    replies.Event: {"text": "latency", "done": 1, "steps": 5},
    replies.Given: {"towers": ["fp32"], "failed": {"int8": "no"}, "left_out": ["x"]},
    replies.Ran: {"status": 0, "why": ""},
    replies.Benched: {
        "rows": {"exported fp32": ROW},
        "reference": None,
        "rule": "in turns",
        "before": {"load": 0.5},
        "after": {},
        "machine": MACHINE,
    },
}
WRONG = {
    "nothing": None,
    "a number as text": "1",
    "a text": "\x1b[2Jx",
    "negative": -1,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "a list": [[]],
    "a table": {"a": 1},
    "true": True,
}


def leaves(data, path=()):
    if isinstance(data, dict):
        for key, value in data.items():
            yield (*path, key)
            yield from leaves(value, (*path, key))


def misfits():
    """Of each kind of reply: a wrong value, or none, in each place that is checked."""
    for kind, good in GOOD.items():
        for path in leaves(good):
            for name, value in WRONG.items():
                yield kind, path, name, value
            yield kind, path, "missing", MISSING


MISFITS = list(misfits())


def test_good_replies_are_read():
    for kind, good in GOOD.items():
        assert read_reply("pi", "it", f"Welcome to pi!\n{json.dumps(good)}\n", kind) is not None


def test_every_wrong_reply_is_a_line_and_never_believed():
    """A value that fits by its type is a device's own affair; NaN, and what is of another type, never is."""
    refused = 0
    for kind, path, name, value in MISFITS:
        text = json.dumps(spoilt(GOOD[kind], path, value))
        try:
            found = read_reply("pi", "it", text, kind)
        except EdgeclipError as error:
            told = str(error)
            assert told.startswith("pi: its answer about it is not valid: ") and "\n" not in told and len(told) < 700, (
                told
            )
            refused += 1
        else:
            assert name not in ("NaN", "infinity"), (kind, path)
            assert found is not None
    assert refused > 300


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "{",
        "not json",
        "[" * 100_000,
        '{"a":' * 5000,
        "\x1b]0;t\x07{",
        "null",
        "[]",
        "3",
        '"x"',
        "NaN",
        "{}{}",
    ],
)
@pytest.mark.parametrize("kind", [replies.Look, replies.Kept, replies.Benched], ids=lambda kind: kind.__name__)
def test_what_is_no_reply_at_all(text, kind):
    with pytest.raises(EdgeclipError) as error:
        read_reply("pi", "what is there", text, kind)
    assert one_line(error).startswith("pi: it")


def test_an_endless_reply_is_not_read(monkeypatch):
    monkeypatch.setattr(replies, "LARGEST", 1000)
    with pytest.raises(EdgeclipError, match="has 2,000 bytes"):
        read_reply("pi", "it", "x" * 2000, replies.Kept)


def test_percentiles_are_taken_from_the_samples_and_not_from_the_devices_word():
    row = {**ROW, "latency": dict.fromkeys(("p50", "p90", "p95", "p99", "max"), 0.001)}
    told = spoilt(GOOD[replies.Benched], ("rows", "exported fp32"), row)
    found = read_reply("pi", "it", json.dumps(told), replies.Benched)
    assert found.rows["exported fp32"].latency == {"p50": 1.0, "p90": 1.0, "p95": 1.0, "p99": 1.0, "max": 1.0}

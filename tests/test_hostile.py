"""What comes from elsewhere and means harm, or is broken: archives, replies, documents, addresses. One line each.

Nothing is run, nothing is left, nothing goes on for ever or fills the memory.
"""

import copy
import io
import json
import tarfile
import zipfile

import pytest

from edgeclip.data.sources import _expanded
from edgeclip.device import replies
from edgeclip.device.replies import read_reply
from edgeclip.documents import read_document
from edgeclip.errors import EdgeclipError
from edgeclip.models.fetch import fetch_model
from edgeclip.report.schema import Figures
from edgeclip.runtime.bundle import Bundle
from edgeclip.runtime.plain import read_plain
from edgeclip.seal import sealed
from edgeclip.tars import BLOCK, index_tar, read_tar
from edgeclip.visible import HIDDEN

from .test_cli import run
from .test_documents import documents


def one_line(error):
    told = str(error.value)
    assert told and "\n" not in told and len(told) < 1000, told
    return told


# --- archives ---


def header(name=b"a.png", size=b"00000000010\0", kind=b"0", checksum=None, magic=b"ustar\x0000"):
    block = bytearray(BLOCK)
    block[: len(name)] = name
    block[100:108], block[108:116], block[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    block[124 : 124 + len(size)] = size
    block[136:148], block[156:157], block[257:265] = b"00000000000\0", kind, magic
    block[148:156] = b" " * 8
    block[148:156] = checksum if checksum is not None else f"{sum(block):06o}\0 ".encode()
    return bytes(block)


BODY = b"0123456789".ljust(BLOCK, b"\0")
SIZES = {
    "negative": b"-0000000010\0",
    "minus one": b"-1\0",
    "plus": b"+0000000010\0",
    "underscores": b"1_0\0",
    "hexadecimal": b"0x10\0",
    "a word": b"large\0",
    "nines": b"99999999999\0",
    "the largest": b"77777777777\0",
    "base 256": b"\x80" + (1 << 40).to_bytes(11, "big"),
    "base 256, all": b"\x80" + b"\xff" * 11,
    "base 256, negative": b"\xff" * 12,
    "base 256, minus a block": b"\xff" + (-BLOCK).to_bytes(11, "big", signed=True),
    "more than there is": b"00000077777\0",
    "letters after": b"10 bytes\0",
    "a dot": b"1.0\0",
    "an arabic digit": "٣".encode() + b"\0",
}
ARCHIVES = {f"size: {name}": header(size=size) + BODY for name, size in SIZES.items()}
ARCHIVES |= {
    f"long name, {name}": header(kind=b"L", size=size) + BODY + header() + BODY for name, size in SIZES.items()
}
ARCHIVES |= {f"extended, {name}": header(kind=b"x", size=size) + BODY + header() + BODY for name, size in SIZES.items()}
ARCHIVES |= {
    "no header": b"not a tar at all",
    "noise": bytes(range(256)) * 8,
    "half a header": header()[:200],
    "checksum: none": header(checksum=b"\0" * 8) + BODY,
    "checksum: another": header(checksum=b"000000\0 ") + BODY,
    "checksum: negative": header(checksum=b"-00001\0 ") + BODY,
    "checksum: a word": header(checksum=b"abcdefgh") + BODY,
    "cut in a file": header(size=b"00000001000\0") + BODY[:100],
    "cut after a header": header(),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_hostile_tar_ends_in_a_line(name, tmp_path):
    (tmp_path / "a.tar").write_bytes(ARCHIVES[name] + b"\0" * 2 * BLOCK)
    with pytest.raises(EdgeclipError) as error:
        members = list(index_tar(tmp_path / "a.tar"))
        assert len(members) < 3
        list(read_tar(tmp_path / "a.tar"))
        raise EdgeclipError("it could be read")  # whose padding is no fault
    one_line(error)


def test_a_good_tar_is_read(tmp_path):
    (tmp_path / "a.tar").write_bytes(header() + b"01234567".ljust(BLOCK, b"\0") + b"\0" * 2 * BLOCK)
    assert [(name, size) for name, _, size in index_tar(tmp_path / "a.tar")] == [("a.png", 8)]


ESCAPES = ["../out.txt", "/tmp/out.txt", "b/../../out.txt", "C:\\out.txt", "..\\out.txt", "a/\0b"]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_bundle_whose_archive_would_leave_its_folder(name, kind, tmp_path):
    file = tmp_path / f"b.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(zipfile.ZipInfo(name.replace("\0", "")), "x")
    else:
        with tarfile.open(file, "w") as archive:
            info = tarfile.TarInfo(name.replace("\0", ""))
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(EdgeclipError) as error:
        Bundle.open(file)
    one_line(error)
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / "out.txt").exists()


LINKS = [(tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "../x"), (tarfile.FIFOTYPE, ""), (tarfile.CHRTYPE, "")]


@pytest.mark.parametrize(("kind", "target"), LINKS)
def test_a_bundle_whose_archive_holds_what_is_no_file(kind, target, tmp_path):
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        info = tarfile.TarInfo("bundle.json")
        info.type, info.linkname = kind, target
        archive.addfile(info)
    with pytest.raises(EdgeclipError) as error:
        Bundle.open(tmp_path / "b.tar")
    one_line(error)


# --- replies ---

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
    replies.Look: {"python": [3, 11], "missing": [], "base": "/home/pi/.cache", "edgeclip": False, "free": 10},
    dict[str, replies.Blob]: {"0" * 64: {"whole": False, "part": 3}},
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


def changed(data, path, value):
    found = copy.deepcopy(data)
    table = found
    for key in path[:-1]:
        table = table[key]
    if value is KeyError:
        del table[path[-1]]
    else:
        table[path[-1]] = value
    return found


def misfits():
    """Of each kind of reply: a wrong value, or none, in each place that is checked."""
    for kind, good in GOOD.items():
        for path in leaves(good):
            for name, value in WRONG.items():
                yield kind, path, name, value
            yield kind, path, "missing", KeyError


MISFITS = list(misfits())


def test_good_replies_are_read():
    for kind, good in GOOD.items():
        assert read_reply("pi", "it", f"Welcome to pi!\n{json.dumps(good)}\n", kind) is not None


def test_every_wrong_reply_is_a_line_and_never_believed():
    """A value that fits by its type is a device's own affair; NaN, and what is of another type, never is."""
    refused = 0
    for kind, path, name, value in MISFITS:
        text = json.dumps(changed(GOOD[kind], path, value))
        try:
            found = read_reply("pi", "it", text, kind)
        except EdgeclipError as error:
            told = str(error)
            assert told.startswith("pi: its answer about it is none: ") and "\n" not in told and len(told) < 700, told
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
    told = changed(GOOD[replies.Benched], ("rows", "exported fp32"), row)
    found = read_reply("pi", "it", json.dumps(told), replies.Benched)
    assert found.rows["exported fp32"].latency == {"p50": 1.0, "p90": 1.0, "p95": 1.0, "p99": 1.0, "max": 1.0}


# --- addresses, names, patterns ---

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
        _expanded(pattern)
    one_line(error)


# --- documents ---


def figures(bundle):
    return next(one for one in documents(bundle) if isinstance(one, Figures)).as_data()


def edited(data, **changes):
    row = {**data["rows"][0], **changes.pop("row", {})}
    timing = changes.pop("timing", None)
    if timing:
        row["timing"] = {**row["timing"], **timing}
    return {**data, "rows": [row], **changes}


FAULTS = {
    "p50 above p90": {"timing": {"p50_ms": 2.0, "raw_ms": []}},
    "p90 above p95": {"timing": {"p90_ms": 2.0, "raw_ms": []}},
    "p95 above p99": {"timing": {"p95_ms": 2.0, "raw_ms": []}},
    "p99 above max": {"timing": {"p99_ms": 2.0, "raw_ms": []}},
    "other samples": {"timing": {"raw_ms": [2.0]}},
    "more samples": {"timing": {"samples": 2}},
    "faster": {"timing": dict.fromkeys(("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms"), 0.5)},
    "better": {"row": {"right": "0", "answers": [0], "top1": 1.0}},
    "worse": {"row": {"right": "1", "answers": [0], "top1": 0.0}},
    "outside its interval": {"row": {"right": "1", "answers": [0], "top1": 1.0, "top1_interval": [0.1, 0.2]}},
    "answers of others": {"row": {"right": "10", "answers": [0], "top1": 0.5}},
    "no answers": {"row": {"right": "", "answers": [], "top1": 0.5}},
    "letters": {"row": {"right": "yes", "answers": [0, 0, 0], "top1": 0.5}},
    "more than the data set": {"row": {"right": "11111", "answers": [0] * 5, "top1": 1.0}},
    "a class that there is none": {"row": {"right": "1", "answers": [7], "top1": 1.0}},
    "nothing verified": {"verified": []},
    "a machine without a name": {"device": {"cores": 4}},
    "a machine without cores": {"device": {**MACHINE, "cores": 0}},
    "another best": {"recommended": "int8"},
    "no rows": {"rows": []},
    "no engine": {"threads": 2},
    "chance beyond one": {
        "dataset": {"name": "d", "sha256": "0", "images": 4, "classes": 2, "templates": [], "chance": 2}
    },
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("how", ["sealed again", "as it is"])
def test_figures_that_contradict_themselves(name, how, bundle, tmp_path):
    data = figures(bundle)
    changes = copy.deepcopy(FAULTS[name])
    spoilt = {**data, **changes} if "rows" in changes else edited(data, **changes)
    if name == "no engine":
        del spoilt["runtime"]
    file = tmp_path / "figures.json"
    file.write_text(json.dumps(sealed(spoilt) if how == "sealed again" else spoilt))
    with pytest.raises(EdgeclipError) as error:
        read_document(file, Figures)
    one_line(error)


def test_figures_as_they_were_written_are_read(bundle, tmp_path):
    (tmp_path / "figures.json").write_text(json.dumps(figures(bundle)))
    assert read_document(tmp_path / "figures.json", Figures)


MANIFESTS = {
    "size 10^6": lambda own: own["preprocess"].update(size=10**6),
    "size 0": lambda own: own["preprocess"].update(size=0),
    "scale 1e308": lambda own: own.update(logit_scale=1e308),
    "scale negative": lambda own: own.update(logit_scale=-1.0),
    "width 10^9": lambda own: own.update(embed_dim=10**9),
    "width negative": lambda own: own.update(embed_dim=-1),
    "std 0": lambda own: own["preprocess"].update(std=[0, 0, 0]),
    "mean of two": lambda own: own["preprocess"].update(mean=[0.5, 0.5]),
    "no variants": lambda own: own.update(variants=[]),
    "variants a table": lambda own: own.update(variants={}),
    "a target that is none": lambda own: own.update(target=3),
    "no runtime": lambda own: own["target"].pop("runtime"),
    "golden elsewhere": lambda own: own["golden"].update(file="../../etc/passwd"),
    "golden a folder": lambda own: own["golden"].update(file="."),
    "preprocess a list": lambda own: own.update(preprocess=[]),
    "fallback another": lambda own: own.update(fallback="int4"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_is_none(name, bundle, tmp_path):
    import shutil

    shutil.copytree(bundle.path, tmp_path / "b")
    file = tmp_path / "b/bundle.json"
    own = json.loads(file.read_text())
    MANIFESTS[name](own)
    file.chmod(0o644)
    file.write_text(json.dumps(sealed(own)))
    for opened in (Bundle.open, read_plain):
        with pytest.raises(EdgeclipError) as error:
            opened(tmp_path / "b")
        one_line(error)


CONFIGS = [
    "[]",
    "3",
    '"x"',
    "null",
    "{",
    "{}",
    '{"model_cfg": []}',
    '{"model_cfg": {}}',
    '{"model_cfg": {"embed_dim": "x"}}',
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_teachers_config_that_is_none(config, teacher_dir, tmp_path):
    import shutil

    shutil.copytree(teacher_dir, tmp_path / "t")
    (tmp_path / "t/open_clip_config.json").write_text(config)
    told = run("eval", f"local-dir:{tmp_path / 't'}", "--dataset", tmp_path, expect=2).stderr
    assert told.count("\n") == 1


def test_there_are_enough_of_them():
    tables = (
        ARCHIVES,
        ESCAPES * 2,
        LINKS,
        MISFITS,
        ADDRESSES,
        PATTERNS,
        list(FAULTS) * 2,
        list(MANIFESTS) * 2,
        CONFIGS,
    )
    assert sum(map(len, tables)) > 600

"""Tars and zips."""

import io
import tarfile
import zipfile

import pytest

from edgeclip.base.errors import EdgeclipError
from edgeclip.base.tars import BLOCK, index_tar, read_tar
from edgeclip.runtime.bundle import Bundle

from .told import one_line


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


def test_there_are_enough_of_them():
    assert len(ARCHIVES) + 2 * len(ESCAPES) + len(LINKS) > 70

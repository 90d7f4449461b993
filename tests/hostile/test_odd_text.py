"""What people and attackers write into files and addresses: one line each, in little time and memory."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeclip.base.documents import read_document
from edgeclip.base.errors import EdgeclipError
from edgeclip.chain.project import Project
from edgeclip.distillation.config import DistillConfig
from edgeclip.images.datasets import open_dataset
from edgeclip.images.sources import open_source
from edgeclip.measurement.addresses import parse_address
from edgeclip.profiling.schema import Profile
from edgeclip.towers.spec import StudentSpec

DOCUMENTS = {
    "an integer of 5,000 digits.toml": (Profile, f"name = {'9' * 5000}"),
    "an integer of 5,000 digits.json": (StudentSpec, '{"a": %s}' % ("9" * 5000)),
    "a key of 100,000 parts.toml": (Profile, ".".join(["a"] * 100_000) + " = 1"),
    "a table of 100,000 parts.toml": (Profile, f"[{'.'.join(['a'] * 100_000)}]"),
    "lists in lists.toml": (DistillConfig, "x = " + "[" * 100_000),
    "lists in lists.json": (StudentSpec, "[" * 1_000_000),
    "a date.toml": (Project, "teacher = 1979-05-27T07:32:00Z"),
    "a date and a seal.toml": (Project, "seal = 'x'\nteacher = 1979-05-27"),
    "bytes.toml": (Project, b"\xff\xfe"),
    "nothing.json": (StudentSpec, ""),
}
ADDRESSES = (
    "ssh://[::1",
    "ssh://::1",
    "ssh://" + "a" * 10_000,
    "ssh://h:99999",
    "ssh://h?x=1",
    "ssh://h?folder",
    "adb://",
)
SOURCES = ("x{000..099.tar", "x{0..9}}.tar", "http://[::1/x.tar", "hf:", "x{0..9999999999}.tar")
DATASETS = ("hub:../x", "hub:a/..", "hub:", "hub:a/b/c", "https://[::1/x")


def one_line(action):
    with pytest.raises(EdgeclipError) as error:
        action()
    assert "\n" not in str(error.value) and len(str(error.value)) < 700


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_that_is_none(name, tmp_path):
    kind, content = DOCUMENTS[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    one_line(lambda: read_document(tmp_path / name, kind))


@pytest.mark.parametrize("address", ADDRESSES, ids=lambda address: address[:20])
def test_an_address_that_is_none(address):
    one_line(lambda: parse_address(address))


@pytest.mark.parametrize("name", SOURCES)
def test_images_that_are_none(name, tmp_path):
    one_line(lambda: open_source(name, tmp_path))


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_that_is_none(name):
    one_line(lambda: open_dataset(name))


@pytest.mark.parametrize("kind", [b"\xff\xfe", b"", b"retrieval\0", b"pictures"])
def test_a_kind_of_data_set_that_is_none(kind, tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test/nshards.txt").write_text("1")
    (tmp_path / "classnames.txt").write_text("a\nb")
    (tmp_path / "dataset_type.txt").write_bytes(kind)
    one_line(lambda: open_dataset(tmp_path))


@settings(max_examples=200)
@given(st.text(max_size=60))
def test_any_address_is_one_or_is_refused(text):
    try:
        address = parse_address(text)
    except EdgeclipError as error:
        assert "\n" not in str(error) or "\n" in text
    else:
        assert address.host and address.scheme in ("ssh", "adb")


@settings(max_examples=100)
@given(
    content=st.binary(max_size=200),
    kind=st.sampled_from([(Profile, ".toml"), (Project, ".toml"), (StudentSpec, ".json")]),
)
def test_any_bytes_are_a_document_or_are_refused(content, kind, tmp_path_factory):
    file = tmp_path_factory.mktemp("odd") / f"x{kind[1]}"
    file.write_bytes(content)
    with pytest.raises(EdgeclipError):
        read_document(file, kind[0])

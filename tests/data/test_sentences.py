import gzip
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclip.base.errors import EdgeclipError
from edgeclip.base.lines import read_lines
from edgeclip.base.strings import Strings, StringsOnDisk
from edgeclip.data import sentences as module
from edgeclip.data.sentences import (
    OPENERS,
    PROMPTS,
    class_sentences,
    distinct,
    kept_sentences,
    read_sentences,
    read_templates,
)


def test_sentences_that_are_not_there(tmp_path):
    with pytest.raises(EdgeclipError, match="no such file"):
        list(read_sentences(tmp_path / "absent.txt"))
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(EdgeclipError, match="no sentences"):
        list(read_sentences(tmp_path / "empty.txt"))
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"words": "two"}\n')
    with pytest.raises(EdgeclipError, match=r"a\.jsonl:2"):
        list(read_sentences(tmp_path / "a.jsonl"))


def test_sentences_come_in_order_without_blanks(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": " one "}\n\n{"text": "two"}\n{"text": ""}\n')
    assert list(read_sentences(tmp_path / "a.jsonl")) == ["one", "two"]


def test_each_sentence_is_kept_once_in_order(tmp_path):
    kept = distinct(["b", "a", "b", "ü", "a"], tmp_path / "block")
    assert list(kept) == ["b", "a", "ü"]
    assert kept[2] == "ü"
    assert [path.name for path in tmp_path.iterdir()] == ["block"]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl.xz", "a.jsonl.bz2", "a.txt.zst", "a.parquet"])
def test_sentences_plain_and_packed(name, tmp_path):
    texts = ["Zwölf", "eleven & a half"]
    file = tmp_path / name
    if file.suffix == ".parquet":
        import pyarrow as arrow
        from pyarrow import parquet

        parquet.write_table(arrow.table({"id": [1, 2, 3], "text": [*texts, " "]}), file)
    else:
        lines = [json.dumps({"text": text}) if "jsonl" in name else text for text in texts]
        if file.suffix == ".zst":
            import pyarrow

            with pyarrow.output_stream(str(file), compression="zstd") as out:
                out.write("\n".join(lines).encode())
        else:
            with OPENERS.get(file.suffix, open)(file, "wt", encoding="utf-8") as out:
                out.write("\n".join(lines))
    assert list(read_sentences(file)) == texts
    assert list(class_sentences(file)) == [prompt.format(text) for text in texts for prompt in PROMPTS]
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] if file.suffix != ".txt" else b"\xff\xfe")
    with pytest.raises(EdgeclipError, match=name):
        list(read_sentences(file))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_strings_come_back_as_they_were(texts):
    packed = Strings(texts)
    assert list(packed) == [text.replace("\0", "\ufffd") for text in texts]
    assert len(packed) == len(texts)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_distinct_is_what_a_dictionary_would_keep(tmp_path_factory, texts):
    file = tmp_path_factory.mktemp("strings") / "block"
    assert list(distinct(texts, file)) == list(dict.fromkeys(texts))


def test_sentences_are_read_once_until_their_file_changes(tmp_path, monkeypatch):
    file, folder = tmp_path / "a.txt", tmp_path / "kept"
    file.write_text("b\na\nb\nü\n")
    first = kept_sentences(file, folder)
    assert list(first) == ["b", "a", "ü"]
    with monkeypatch.context() as patch:
        patch.setattr(module, "distinct", lambda *_: pytest.fail("read again"))
        again = kept_sentences(file, folder)
    assert list(again) == list(first)
    assert again.digest == first.digest
    assert list(kept_sentences(file, folder, ["the {}", "a {}"]))[:2] == ["the b", "a b"]
    file.write_text("another\n")
    assert list(kept_sentences(file, folder)) == ["another"]


@pytest.mark.parametrize("harm", ["flip", "cut", "index", "gone"])
def test_kept_sentences_that_were_altered_are_made_anew(harm, tmp_path):
    file, folder = tmp_path / "a.txt", tmp_path / "kept"
    file.write_text("one\ntwo\nthree\n")
    kept_sentences(file, folder)
    (block,), (index,) = folder.glob("*.bin"), folder.glob("*.npz")
    if harm == "gone":
        block.unlink()
    elif harm == "index":
        index.write_bytes(index.read_bytes()[:-9])
    else:
        block.write_bytes(b"X" + block.read_bytes()[1:] if harm == "flip" else block.read_bytes()[:-1])
    assert list(kept_sentences(file, folder)) == ["one", "two", "three"]


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=6), st.lists(st.text(max_size=4), max_size=6)
)
def test_digests_tell_strings_apart(tmp_path_factory, some, others):
    folder = tmp_path_factory.mktemp("strings")
    packed = [
        StringsOnDisk.write(folder / name, (t.encode() for t in texts))
        for name, texts in (("a", some), ("b", others), ("c", [*others, *some]))
    ]
    same = list(packed[0]) == list(packed[1])
    assert (packed[0].digest == packed[1].digest) == same
    part = packed[2].only(np.arange(len(others), len(others) + len(some)))
    assert part.digest == packed[0].digest
    mixed = packed[2].only(np.arange(len(packed[2]))[::-1])
    assert mixed.digest == StringsOnDisk.write(folder / "d", (t.encode() for t in reversed(list(packed[2])))).digest


def test_lines_end_at_a_line_feed_alone(tmp_path):
    odd = ["a\u2028b", "c\u0085d", "e\rf", "g\x0bh"]
    (tmp_path / "a.txt").write_bytes("\ufeff".encode() + "\r\n".join(odd).encode())
    assert list(read_sentences(tmp_path / "a.txt")) == odd
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in odd), newline=""
    )
    assert list(read_sentences(tmp_path / "a.jsonl")) == odd
    assert read_lines(tmp_path / "a.txt") == odd


@pytest.mark.parametrize("value", [7, ["a"], {"b": 1}, True])
def test_what_is_no_string_is_named_with_its_line(value, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + json.dumps({"text": value}))
    with pytest.raises(EdgeclipError, match=r'a\.jsonl:2: its "text" is not a string but') as told:
        list(read_sentences(tmp_path / "a.jsonl"))
    assert json.dumps(value)[:40] in str(told.value)
    (tmp_path / "a.jsonl").write_text('{"text": "\\ud800"}')
    with pytest.raises(EdgeclipError, match=r"a\.jsonl:1: not a JSON object"):
        list(read_sentences(tmp_path / "a.jsonl"))


def test_a_parquet_row_that_is_no_string_is_named(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"text": [3, 4]}), tmp_path / "a.parquet")
    with pytest.raises(EdgeclipError, match=r'row 1: its "text" is not a string but 3'):
        list(read_sentences(tmp_path / "a.parquet"))


@pytest.mark.parametrize("name", ["a.csv", "a", "a.txt.zip", "a.parquet.gz", "a.gz", "a.jsonl.old"])
def test_other_kinds_of_files_are_refused_with_the_known_ones(tmp_path, name):
    (tmp_path / name).write_text("a cat\n")
    with pytest.raises(EdgeclipError, match=r"ends in \.txt, \.jsonl, \.parquet, and packed \.gz"):
        list(read_sentences(tmp_path / name))


def test_classes_are_put_into_templates(tmp_path):
    (tmp_path / "names.txt").write_text("cat\n{dog}\n")
    assert len(list(class_sentences(tmp_path / "names.txt", read_templates("openai")))) == 160
    (tmp_path / "templates.txt").write_text("a {}, drawn\nmy {}\n")
    made = list(class_sentences(tmp_path / "names.txt", read_templates(str(tmp_path / "templates.txt"))))
    assert made == ["a cat, drawn", "my cat", "a {dog}, drawn", "my {dog}"]
    (tmp_path / "templates.txt").write_text("a thing\n")
    with pytest.raises(EdgeclipError, match=r"no \{\} in the template 'a thing'"):
        read_templates(str(tmp_path / "templates.txt"))


def write_parquet(file, **columns):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table(columns), file)
    return file


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_captions_that_are_missing_are_counted_and_named(kind, tmp_path, capsys):
    texts = ["one", None, "two", *[None] * 7, "three"]
    file = tmp_path / f"a.{kind}"
    if kind == "parquet":
        write_parquet(file, text=texts)
    else:
        file.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    assert list(read_sentences(file)) == ["one", "two", "three"]
    where = "row" if kind == "parquet" else "line"
    assert f"a.{kind}: 8 without a text skipped: {where} 2, " in capsys.readouterr().err


@pytest.mark.parametrize(("name", "hint"), [("TEXT", True), ("caption", True), ("url", False)])
def test_a_column_of_another_name_is_suggested(name, hint, tmp_path):
    for file in (write_parquet(tmp_path / "a.parquet", **{"id": [1], name: ["x"]}), tmp_path / "a.jsonl"):
        if file.suffix == ".jsonl":
            file.write_text(json.dumps({"id": 1, name: "x"}))
        with pytest.raises(EdgeclipError, match=f'no "text" there; it has id, {name}') as told:
            list(read_sentences(file))
        assert (f'rename "{name}" to "text"' in str(told.value)) is hint


def test_a_damaged_gz_is_one_line(tmp_path):
    content = bytearray(gzip.compress("\n".join(f"sentence {n}" for n in range(5000)).encode()))
    for place in (20, len(content) // 2, len(content) - 20):
        spoilt = content.copy()
        spoilt[place] ^= 0xFF
        (tmp_path / "a.txt.gz").write_bytes(spoilt)
        with pytest.raises(EdgeclipError, match="cannot be read"):
            list(read_sentences(tmp_path / "a.txt.gz"))


def test_a_corpus_without_line_ends_is_refused_in_bounded_memory(tmp_path):
    with gzip.open(tmp_path / "a.txt.gz", "wt", compresslevel=1) as file:
        for _ in range(64):
            file.write("word " * (1 << 18))
    tracemalloc.start()
    with pytest.raises(EdgeclipError, match=r"a\.txt\.gz:1: a line of over 1,048,576 characters"):
        list(read_sentences(tmp_path / "a.txt.gz"))
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()

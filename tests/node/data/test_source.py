"""Files that are not what they seem: each is one sentence, in bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.data import lines as lines_module
from node.data.intake import preview
from node.data.lines import BLOCK_BYTES, MAX_RECORD_CHARS
from node.data.source import Chunk, Source
from protocols.errors import InputError

HEADER = "date,category,qty,total\n"
ROW = "2017-01-01,A,1,1.00\n"


def chunks(path: Path, encoding: str = "utf-8") -> list[Chunk]:
    with Source(path, encoding, ",") as source:
        out = list(source.chunks())
        source.finish()
        return out


def test_a_folder_and_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this is a folder"):
        preview(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        preview(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="cannot be opened"):
        preview(Path("a\0b"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this file system")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe or a device"):
        preview(tmp_path / "pipe")


def test_a_device_is_refused() -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("no devices here")
    with pytest.raises(InputError, match="pipe or a device"):
        preview(Path("/dev/zero"))


SPARSE = """
import resource, sys
from pathlib import Path
from node.data.intake import preview
from protocols.errors import InputError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    preview(Path(sys.argv[1]))
except InputError as error:
    print(error.where, "|", error.problem)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def peak_of_preview(path: Path) -> tuple[str, int]:
    """The refusal and the growth of memory in MB, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", SPARSE, str(path)], capture_output=True, text=True, check=True
    )
    said, growth = done.stdout.strip().splitlines()
    return said, int(growth)


@pytest.mark.skipif(sys.platform == "win32", reason="needs sparse files")
def test_a_file_of_five_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.csv"
    with path.open("wb") as file:
        file.write((HEADER + ROW).encode())
        file.truncate(5_000_000_000)
    with pytest.raises(InputError, match=r"has 5\.0 GB; at most 4 GB are taken") as caught:
        preview(path)
    assert caught.value.where == "sparse.csv" and "one year at a time" in caught.value.fix


@pytest.mark.skipif(sys.platform == "win32", reason="needs sparse files and getrusage")
def test_a_gigantic_cell_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "sparse.csv"
    with path.open("wb") as file:
        file.write((HEADER + ROW + "2017-01-01,").encode())
        file.seek(3 * 1024**3)
        file.write(b"\n")
    said, growth_mb = peak_of_preview(path)
    assert said == "sparse.csv:3:12 | a NUL character stands here; expected text."
    assert growth_mb < 100


@pytest.mark.skipif(sys.platform == "win32", reason="needs getrusage")
def test_a_gigantic_cell_of_letters_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "letters.csv"
    with path.open("wb") as file:
        file.write((HEADER + ROW + '2017-01-01,"').encode())
        for _ in range(130):
            file.write(b"A" * 1_000_000)
    said, growth_mb = peak_of_preview(path)
    assert said.startswith("letters.csv:3:12 | one record runs on for more than 100000 characters.")
    assert growth_mb < 100


def test_a_gigantic_cell_of_short_lines(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(HEADER + ROW + '2017-01-01,"A\n' + "words\n" * 50_000)
    with pytest.raises(InputError) as caught:
        chunks(path)
    assert caught.value.where == "f.csv:3:12"
    assert "not closed" in caught.value.problem


@pytest.mark.parametrize("grow", ["append", "rewrite"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, grow: str) -> None:
    path = tmp_path / "f.csv"
    path.write_text(HEADER + ROW * 10)
    with Source(path, "utf-8", ",") as source:
        stream = source.chunks()
        next(stream)
        if grow == "append":
            with path.open("a") as file:
                file.write(ROW)
        else:
            path.write_text(HEADER)
        assert sum(len(chunk.rows) for chunk in stream) == 10  # never past the size it had
        with pytest.raises(InputError, match="changed while it was being read"):
            source.finish()


@pytest.mark.parametrize("grow", ["append", "rewrite", "replace"])
def test_a_file_that_changes_under_an_import(tmp_path: Path, grow: str) -> None:
    path = tmp_path / "f.csv"
    path.write_text(HEADER + ROW * 10)

    def change(done: int, total: int) -> None:
        if grow == "append":
            with path.open("a") as file:
                file.write(ROW)
        elif grow == "rewrite":
            path.write_text(HEADER + ROW * 11)
        else:  # another file under the same name: the one that was opened is read to its end
            (tmp_path / "new.csv").write_text(HEADER)
            (tmp_path / "new.csv").replace(path)

    if grow == "replace":
        assert preview(path, None, change).rows == 10
        return
    with pytest.raises(InputError, match="changed while it was being read") as caught:
        preview(path, None, change)
    assert caught.value.where == "f.csv" and "Wait until" in caught.value.fix


def test_line_numbers_through_quotes_blanks_and_breaks(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b'\r\na,b\r\n\r\n1,"x\r\ny"\r\n,,\r\n2,z\r\n3,"p"q\r\n4,w\r\n , \r\n5,v')
    header, *rest = chunks(path)
    assert (header.rows, header.lines) == ([["a", "b"]], [2])
    rows = [row for chunk in rest for row in chunk.rows]
    assert rows == [["1", "x\r\ny"], ["2", "z"], ["4", "w"], ["5", "v"]]
    assert [line for chunk in rest for line in chunk.lines] == [4, 7, 9, 11]
    assert [(bad.line, bad.place) for chunk in rest for bad in chunk.broken] == [(8, 0)]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_blocks_join_without_a_seam(
    tmp_path: Path, newline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = newline.join(["a,b", *(f'{k},"v {k}"' for k in range(500)), '500,"two\nlines"', "501,x"])
    (tmp_path / "f.csv").write_bytes(text.encode())
    for size in (7, 64, 1000):
        monkeypatch.setattr(lines_module, "BLOCK_BYTES", size)
        found = chunks(tmp_path / "f.csv")[1:]
        rows = [row for chunk in found for row in chunk.rows]
        lines = [line for chunk in found for line in chunk.lines]
        assert [row[0] for row in rows] == [str(k) for k in range(502)]
        assert rows[500][1] == "two\nlines"
        assert lines == [*range(2, 503), 504]
        assert not any(chunk.broken for chunk in found)


def test_fast_and_slow_reading_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.csv"
    path.write_text(HEADER + "".join(f'2017-01-01,"A {k}",1,1.00\n' for k in range(1000)))
    fast = chunks(path)
    monkeypatch.setattr(Source, "_at_once", lambda *_: None)
    slow = chunks(path)
    assert [(c.rows, c.lines) for c in fast] == [(c.rows, c.lines) for c in slow]


def test_the_bad_byte_is_found_far_down(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes((HEADER + ROW * 200_000).encode() + b"2017-01-01,\xff,1,1\n")
    with pytest.raises(InputError) as caught:
        preview(path)
    assert caught.value.where == "f.csv:200002:12"
    path.write_bytes((HEADER + ROW).encode() + b"2017-01-01,\xc3")
    with pytest.raises(InputError, match="end of the file is not UTF-8"):
        preview(path)


def test_the_bounds_fit_each_other() -> None:
    assert MAX_RECORD_CHARS < BLOCK_BYTES
    import csv

    assert csv.field_size_limit() > MAX_RECORD_CHARS

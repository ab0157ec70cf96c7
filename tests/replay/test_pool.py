"""Open files stay few, whatever is asked for."""

from pathlib import Path

import numpy as np
import pytest

from replay.sources.pool import PooledReader, ReaderPool
from replay.sources.reader import Rows
from streams import LHCO, InputError


class OneRow:
    schema = LHCO
    has_label = False
    block_rows = shuffle_rows = 1

    def __init__(self, path: Path, opened: list[str], n_rows: int) -> None:
        self.path = path
        self.n_rows = n_rows
        self.opened = opened
        self.opened.append(path.name)

    def read_rows(self, start: int, stop: int, keep=None) -> Rows:
        return Rows(np.zeros((1, 5), np.float32), np.zeros(1, np.uint8))

    def read_labels(self, start: int, stop: int):
        raise InputError("no labels")

    def close(self) -> None:
        self.opened.remove(self.path.name)


class Folder:
    def __init__(self, max_open: int = 2) -> None:
        self.opened: list[str] = []
        self.n_rows = 1
        self.pool = ReaderPool(
            lambda path: OneRow(path, self.opened, self.n_rows), max_open=max_open
        )

    def reader(self, name: str) -> PooledReader:
        return PooledReader(Path(name), self.pool)


def test_no_more_files_are_open_than_allowed() -> None:
    folder = Folder(max_open=2)
    for name in "abcde":
        folder.reader(name)
        assert len(folder.opened) <= 2


def test_the_file_not_read_for_longest_is_closed() -> None:
    folder = Folder(max_open=2)
    a = folder.reader("a")
    folder.reader("b")
    a.read_rows(0, 1)
    folder.reader("c")
    assert folder.opened == ["a", "c"]


def test_a_closed_file_is_opened_again_to_be_read() -> None:
    folder = Folder(max_open=1)
    a = folder.reader("a")
    folder.reader("b")
    assert len(a.read_rows(0, 1)) == 1
    assert folder.opened == ["a"]


def test_a_file_that_changed_meanwhile_is_refused() -> None:
    folder = Folder(max_open=1)
    a = folder.reader("a")
    folder.reader("b")
    folder.n_rows = 2
    with pytest.raises(InputError, match="the file was changed"):
        a.read_rows(0, 1)


def test_closing_closes_all_and_nothing_is_opened_again() -> None:
    folder = Folder()
    a = folder.reader("a")
    folder.reader("b")
    a.close()
    assert folder.opened == []
    with pytest.raises(InputError, match="a closed one"):
        a.read_rows(0, 1)

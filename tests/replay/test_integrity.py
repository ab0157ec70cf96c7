"""Files that change while they are read: seen at once, named with the place, never trained on."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from replay.settings import LhcoFeaturesConfig, SelectionConfig
from replay.sources.files import FileSource
from replay.sources.hdf5 import open_features
from replay.sources.integrity import CHUNK_NBYTES, Stamp, describe, verify
from streams import InputError

N = 20_000


@pytest.fixture
def file(tmp_path: Path, jet_events, write_blosc) -> Path:
    events = jet_events(N)
    return write_blosc(tmp_path / "events.h5", np.column_stack([events.table, events.label]))


def opened(*files: Path, **selection: object) -> FileSource:
    return open_features(
        LhcoFeaturesConfig(
            "lhco_features", tuple(map(str, files)), selection=SelectionConfig(**selection)
        )
    )


def touch(path: Path) -> None:
    later = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(later, later))


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def replace(path: Path) -> None:
    was = path.stat()
    copy = path.with_suffix(".new")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(was.st_mtime_ns, was.st_mtime_ns))
    copy.replace(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (touch, "got modified_ns"),
        (shrink, "got nbytes"),
        (replace, "got inode"),
        (Path.unlink, "No such file"),
    ],
)
def test_a_file_that_changes_is_named_with_the_rows_that_were_read(
    file: Path, change: Callable[[Path], None], said: str
) -> None:
    source = opened(file)
    source.read(8192)
    change(file)
    with pytest.raises(InputError, match=rf"(?s){said}.*{file}.*rows 8192 to 16384.*--resume"):
        source.read(1)


def test_what_was_read_before_a_change_is_kept(file: Path) -> None:
    source = opened(file)
    first = source.read(10).x
    touch(file)
    source.seek(0)
    assert np.array_equal(source.read(10).x, first)


def test_a_change_of_another_file_stops_nothing(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    other.write_bytes(file.read_bytes())
    source = opened(file, other)
    touch(other)
    assert len(source.read(N)) == N
    with pytest.raises(InputError, match=r"other\.h5"):
        source.read(1)


def test_a_file_that_changes_before_its_digest_is_known_is_refused(file: Path) -> None:
    source = opened(file)
    touch(file)
    with pytest.raises(InputError, match="while its digest was computed"):
        _ = source.files


def test_the_digest_is_that_of_the_bytes(file: Path) -> None:
    found = describe(file, Stamp.of(file))
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (found.name, found.nbytes) == ("events.h5", file.stat().st_size)


def test_a_bit_that_flips_without_a_trace_is_found_by_the_digest(file: Path) -> None:
    source = opened(file)
    known = source.files
    was = file.stat().st_mtime_ns
    with file.open("r+b") as bytes_:
        bytes_.seek(5_000)
        byte = bytes_.read(1)[0]
        bytes_.seek(5_000)
        bytes_.write(bytes([byte ^ 1]))
    os.utime(file, ns=(was, was))
    assert len(source.read(N)) == N
    assert known == source.files
    with pytest.raises(InputError, match="expected SHA-256"):
        list(source.verify())


def test_files_that_stay_are_verified_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(bytes(2 * CHUNK_NBYTES + 1))
    assert len(list(verify([path], [describe(path)]))) == 3

"""Fetching by name: compared with the catalogue's checksum, or Zenodo's, or with none, and said."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from replay.public.catalogue import PublicFile, find_public
from replay.public.download import Track
from replay.public.fetching import Fetched, fetch, published_checksum
from replay.public.web import Patience, Web
from replay.public.zenodo import Published, ask_zenodo
from streams.errors import DownloadError, InputError

CONTENT = b"events" * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()
WITHOUT = replace(find_public("lhco-particles"), md5=None)
WITH = replace(WITHOUT, md5=MD5)
RECORD = f"/api/records/{WITHOUT.record.number}"
FILE = WITHOUT.url("")
PATIENCE = Patience(tries=2, silence_s=5.0)


def silent(name: str) -> AbstractContextManager[Track]:
    return nullcontext(lambda *_: None)


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with Web(PATIENCE) as web:
        yield web


def record(**changes: object) -> bytes:
    file = {"key": WITHOUT.file, "size": len(CONTENT), "checksum": f"md5:{MD5}"} | changes
    return json.dumps(
        {"files": [{"key": "other", "size": 1}, file], "metadata": {"license": {"id": "cc-by-4.0"}}}
    ).encode()


@pytest.fixture
def get(file_server, tmp_path: Path, web: Web) -> Callable[..., Fetched]:
    def get(public: PublicFile, *, overwrite: bool = False) -> Fetched:
        return fetch(
            public,
            tmp_path,
            web,
            silent,
            server=file_server.url,
            overwrite=overwrite,
            patience=PATIENCE,
            sleep=lambda _: None,
        )

    return get


def test_zenodo_tells_size_checksum_and_licence(file_server, web) -> None:
    file_server.serve(RECORD, record())
    assert ask_zenodo(WITHOUT, web, file_server.url) == Published(MD5, len(CONTENT), "cc-by-4.0")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"files": 3}',
        b"[" * 100_000,
        record(size=float("inf")),
        record()[:-1] + b', "metadata": "none"}',
        b'{"files": []}',
        record(key="elsewhere"),
        record(checksum="sha1:00"),
        record(checksum="md5:" + "x" * 32),
        record(checksum=None),
        record(size="many"),
    ],
)
def test_a_record_that_makes_no_sense_is_refused(file_server, web, body: bytes) -> None:
    file_server.serve(RECORD, body)
    with pytest.raises(DownloadError, match=r"expected a record with the size and MD5"):
        ask_zenodo(WITHOUT, web, file_server.url)


def test_a_record_without_end_is_refused(file_server, web, monkeypatch) -> None:
    monkeypatch.setattr("replay.public.zenodo.MAX_NBYTES", 100)
    file_server.serve(RECORD, b" " * 200 + record())
    with pytest.raises(DownloadError, match="got more"):
        ask_zenodo(WITHOUT, web, file_server.url)


def test_the_catalogues_checksum_asks_nobody(file_server, get, tmp_path) -> None:
    file_server.serve(FILE, CONTENT)
    got = get(WITH)
    assert (got.checksum.md5, got.checksum.known_from) == (MD5, "catalogue")
    assert [path for path, _ in file_server.asked] == [FILE]
    assert (tmp_path / WITH.file).read_bytes() == CONTENT


def test_without_one_zenodo_is_asked(file_server, get) -> None:
    file_server.serve(RECORD, record())
    file_server.serve(FILE, CONTENT)
    got = get(WITHOUT)
    assert (got.checksum.md5, got.checksum.known_from) == (MD5, "zenodo")
    assert got.digests.md5 == MD5


def test_a_file_that_is_not_what_zenodo_says_is_refused(file_server, get, tmp_path) -> None:
    file_server.serve(RECORD, record())
    file_server.serve(FILE, CONTENT[::-1])
    with pytest.raises(DownloadError, match=f"published MD5 {MD5}"):
        get(WITHOUT)
    assert list(tmp_path.iterdir()) == []


def test_where_nobody_knows_a_checksum_the_file_is_kept_and_that_is_said(
    file_server, get, tmp_path
) -> None:
    file_server.serve(FILE, CONTENT)
    got = get(WITHOUT)
    assert got.checksum.md5 is None
    assert "Zenodo didn't tell" in got.checksum.known_from
    assert got.digests.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert got.path == tmp_path / WITHOUT.file


def test_nobody_is_asked_without_a_client() -> None:
    assert "wasn't asked" in published_checksum(WITHOUT, None).known_from


def test_a_file_that_is_there_is_not_fetched_again(file_server, get, tmp_path) -> None:
    (tmp_path / WITH.file).write_bytes(CONTENT)
    assert get(WITH).was_there
    assert file_server.asked == []


def test_another_file_of_the_name_is_left_alone_or_replaced(file_server, get, tmp_path) -> None:
    path = tmp_path / WITH.file
    path.write_bytes(b"mine")
    file_server.serve(FILE, CONTENT)
    with pytest.raises(InputError, match="--overwrite"):
        get(WITH)
    assert path.read_bytes() == b"mine"
    assert not get(WITH, overwrite=True).was_there
    assert path.read_bytes() == CONTENT


def test_an_absent_folder_is_told(web, tmp_path) -> None:
    with pytest.raises(InputError, match="expected an existing folder"):
        fetch(WITH, tmp_path / "absent", web, silent, patience=PATIENCE)

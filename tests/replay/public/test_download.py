"""Downloads end with the published bytes or say why not, whatever the server does."""

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from replay.public.download import Digests, Track, Wanted, download
from replay.public.partial import Partial
from replay.public.web import InterruptedDownloadError, Patience, Web
from streams.errors import DownloadError, InputError

CONTENT = bytes(range(256)) * 200
MD5 = hashlib.md5(CONTENT).hexdigest()
OTHER = CONTENT[::-1]
PATIENCE = Patience(tries=3, connect_s=5.0, silence_s=5.0)


class Naps:
    """Remembers how long it was to sleep, and doesn't."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.slept_s.append(seconds)


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.h5"


def silent(name: str) -> AbstractContextManager[Track]:
    return nullcontext(lambda *_: None)


@pytest.fixture(scope="module")
def patient_web() -> Iterator[Web]:
    """A client for all tests: each new one reads the certificates, which takes a while."""
    with Web(PATIENCE) as web:
        yield web


@pytest.fixture
def get(file_server, path: Path, naps: Naps, patient_web: Web) -> Callable[..., Digests]:
    """Downloads ``/file``, as one process would."""

    def get(
        md5: str | None = MD5,
        nbytes: int | None = None,
        patience: Patience = PATIENCE,
        web: Web = patient_web,
    ) -> Digests:
        wanted = Wanted(f"{file_server.url}/file", path, md5, nbytes)
        return download(wanted, web, silent, patience=patience, sleep=naps)

    return get


def names(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir())


def test_a_file_comes_whole_with_its_checksums(file_server, get, path) -> None:
    file_server.serve("/file", CONTENT)
    got = get()
    assert path.read_bytes() == CONTENT
    assert got == Digests(len(CONTENT), MD5, hashlib.sha256(CONTENT).hexdigest())
    assert names(path) == ["events.h5"]


def test_an_existing_file_is_replaced_only_when_the_new_one_is_complete(
    file_server, get, path
) -> None:
    path.write_text("old")
    file_server.serve("/file", CONTENT, breaks=[1000] * 3, ranges=False)
    with pytest.raises(InterruptedDownloadError):
        get()
    assert path.read_text() == "old"
    get()
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "version",
    [{"etag": '"one"'}, {"etag": "", "last_modified": "Fri, 27 Nov 2026 08:00:00 GMT"}],
    ids=["etag", "last_modified"],
)
def test_a_broken_connection_is_gone_on_with(file_server, get, path, naps, version) -> None:
    file_server.serve("/file", CONTENT, breaks=[20_000, 10_000, 1], **version)
    get(md5=None)
    assert path.read_bytes() == CONTENT
    assert file_server.ranges() == [None, "bytes=20000-", "bytes=30000-", "bytes=30001-"]
    assert naps.slept_s == [1.0, 1.0, 1.0]  # each try brought something new


def test_the_next_call_goes_on_where_the_last_one_stopped(file_server, get, path) -> None:
    file_server.serve("/file", CONTENT, breaks=[20_000, 0, 0, 0])
    with pytest.raises(InterruptedDownloadError) as caught:
        get()
    assert "20,000 bytes are kept in" in caught.value.__notes__[0]
    assert names(path) == ["events.h5.partial", "events.h5.partial.json"]
    get()
    assert path.read_bytes() == CONTENT
    assert file_server.ranges()[-1] == "bytes=20000-"
    assert names(path) == ["events.h5"]


def test_a_call_that_stopped_before_the_last_step_asks_nobody(file_server, get, path) -> None:
    file_server.serve("/file", CONTENT, breaks=[20_000, 0, 0, 0])
    with pytest.raises(InterruptedDownloadError):
        get()
    partial = path.with_name("events.h5.partial")
    partial.write_bytes(CONTENT)
    n_asked = len(file_server.asked)
    get()
    assert path.read_bytes() == CONTENT
    assert len(file_server.asked) == n_asked


def test_a_server_without_ranges_sends_all_again(file_server, get, path) -> None:
    file_server.serve("/file", CONTENT, breaks=[20_000], ranges=False)
    get()
    assert path.read_bytes() == CONTENT
    assert len(file_server.asked) == 2


def test_a_server_without_ranges_that_always_breaks_off_is_given_up(file_server, get, naps) -> None:
    file_server.serve("/file", CONTENT, breaks=[20_000] * 9, ranges=False)
    with pytest.raises(InterruptedDownloadError):
        get()
    assert naps.slept_s == [1.0, 2.0]


def test_a_file_that_changes_between_two_tries_is_fetched_from_its_begin(
    file_server, get, path
) -> None:
    new = {"content": OTHER, "etag": '"two"'}
    file_server.serve("/file", CONTENT, breaks=[20_000], changes=[new])
    get(md5=hashlib.md5(OTHER).hexdigest())
    assert path.read_bytes() == OTHER
    assert file_server.asked[1][1]["if-range"] == '"one"'


@pytest.mark.parametrize("new", [OTHER, OTHER + b"longer"], ids=["same_size", "longer"])
def test_a_change_is_seen_even_if_the_server_ignores_if_range(file_server, get, path, new) -> None:
    changes = [{"content": new, "etag": '"two"'}]
    file_server.serve("/file", CONTENT, breaks=[20_000], changes=changes, heeds_if_range=False)
    get(md5=None)
    assert path.read_bytes() == new


def test_pieces_of_two_versions_are_told_by_the_checksum(file_server, get, path) -> None:
    changes = [{"content": OTHER}]  # same size, and the server says nothing of versions
    file_server.serve("/file", CONTENT, breaks=[20_000], changes=changes, etag="")
    get(md5=hashlib.md5(OTHER).hexdigest())
    assert path.read_bytes() == OTHER
    assert file_server.ranges() == [None, "bytes=20000-", None]


@pytest.mark.parametrize("etag", ["", 'W/"one"'])
def test_without_version_and_checksum_nothing_is_gone_on_with(
    file_server, get, path, etag: str
) -> None:
    file_server.serve("/file", CONTENT, breaks=[20_000], etag=etag)
    get(md5=None)
    assert path.read_bytes() == CONTENT
    assert file_server.ranges() == [None, None]


def test_damage_to_the_partial_file_is_mended(file_server, get, path) -> None:
    file_server.serve("/file", CONTENT, breaks=[20_000, 0, 0, 0])
    with pytest.raises(InterruptedDownloadError):
        get()
    partial = path.with_name("events.h5.partial")
    partial.write_bytes(b"\0" + partial.read_bytes()[1:])
    get()
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("note", [None, "{", "[]", '{"url": 1}', '{"url": "elsewhere"}'])
def test_bytes_of_unknown_origin_are_not_used(file_server, get, path, note) -> None:
    path.with_name("events.h5.partial").write_bytes(OTHER[:1000])
    if note is not None:
        path.with_name("events.h5.partial.json").write_text(note)
    file_server.serve("/file", CONTENT)
    get(md5=None)
    assert path.read_bytes() == CONTENT


def test_a_partial_file_that_is_too_long_is_fetched_again(file_server, get, path) -> None:
    file_server.serve("/file", CONTENT, breaks=[20_000, 0, 0, 0])
    with pytest.raises(InterruptedDownloadError):
        get()
    path.with_name("events.h5.partial").write_bytes(CONTENT + b"more")
    get(md5=None)
    assert path.read_bytes() == CONTENT


def test_a_wrong_file_is_refused_and_not_kept(file_server, get, path) -> None:
    file_server.serve("/file", OTHER)
    with pytest.raises(DownloadError, match=f"expected the published MD5 {MD5}; got "):
        get()
    assert names(path) == []
    assert len(file_server.asked) == 1


def test_a_file_of_another_size_is_refused_before_it_is_fetched(file_server, get, path) -> None:
    file_server.serve("/file", CONTENT)
    with pytest.raises(DownloadError, match=r"published 12 bytes; got a file of 51,200"):
        get(nbytes=12)
    assert names(path) == []


def test_a_missing_file_is_told_at_once(file_server, get, path, naps) -> None:
    with pytest.raises(DownloadError, match="expected a file; got '404 Not Found'"):
        get()
    assert naps.slept_s == []
    assert names(path) == []


def test_a_busy_server_is_asked_again_when_it_says_so(file_server, get, path, naps) -> None:
    file_server.serve("/file", CONTENT, statuses=[503, 429], headers={"Retry-After": "7"})
    get()
    assert path.read_bytes() == CONTENT
    assert naps.slept_s == [7.0, 7.0]


def test_a_server_that_stays_busy_is_given_up(file_server, get, path, naps) -> None:
    file_server.serve("/file", CONTENT, statuses=[503] * 9)
    with pytest.raises(InterruptedDownloadError, match="503") as caught:
        get()
    assert naps.slept_s == [1.0, 2.0]
    assert "give the same command again" in caught.value.__notes__[0]
    assert names(path) == []


def test_a_slow_server_is_waited_for(file_server, get, path) -> None:
    file_server.serve("/file", CONTENT[:8192], pause_s=0.03)
    with Web(replace(PATIENCE, silence_s=0.2)) as web:
        get(md5=None, web=web)  # takes 0.24 s in all
    assert path.read_bytes() == CONTENT[:8192]


def test_a_server_that_falls_silent_is_asked_again(file_server, get, path) -> None:
    changes = [{"pause_s": 0.0}]
    file_server.serve("/file", CONTENT[:2048], pause_s=0.3, changes=changes)
    with Web(replace(PATIENCE, silence_s=0.1)) as web:
        get(md5=None, web=web)
    assert path.read_bytes() == CONTENT[:2048]


def test_nobody_at_the_address_is_a_clear_message(patient_web, path, naps) -> None:
    wanted = Wanted("http://127.0.0.1:1/file", path, MD5)
    with pytest.raises(InterruptedDownloadError, match="is this machine connected") as caught:
        download(wanted, patient_web, silent, patience=PATIENCE, sleep=naps)
    assert "when the server can be reached" in caught.value.__notes__[0]
    assert naps.slept_s == [1.0, 2.0]
    assert names(path) == []


def test_a_file_of_unannounced_length_ends_with_the_connection(file_server, get, path) -> None:
    file_server.serve("/file", CONTENT, announces_length=False)
    get()
    assert path.read_bytes() == CONTENT


def test_an_unannounced_length_is_compared_with_the_published_one(file_server, get, path) -> None:
    file_server.serve("/file", CONTENT, announces_length=False, breaks=[20_000])
    get(nbytes=len(CONTENT))
    assert path.read_bytes() == CONTENT


def test_more_than_the_published_length_is_refused(file_server, get, path) -> None:
    file_server.serve("/file", CONTENT, announces_length=False)
    with pytest.raises(DownloadError, match="got more"):
        get(nbytes=100)
    assert names(path) == []


def test_an_empty_file_is_a_file(file_server, get, path) -> None:
    file_server.serve("/file", b"")
    get(md5=None)
    assert path.read_bytes() == b""
    assert names(path) == ["events.h5"]


def test_compressed_answers_are_refused(file_server, get) -> None:
    file_server.serve("/file", CONTENT, headers={"Content-Encoding": "gzip"})
    with pytest.raises(DownloadError, match="encoding 'gzip'"):
        get()


@pytest.mark.parametrize("said", ["bytes x-9/10", "bytes 20000-51199/x", "nonsense", "bytes 1-2"])
def test_a_range_that_makes_no_sense_is_refused(file_server, get, path, said: str) -> None:
    file_server.serve("/file", CONTENT, breaks=[20_000], content_range=said)
    with pytest.raises(DownloadError, match="Content-Range"):
        get()
    assert not path.exists()


def test_a_part_from_elsewhere_is_not_appended(file_server, get, path) -> None:
    file_server.serve("/file", CONTENT, breaks=[20_000], content_range="bytes 7-51199/51200")
    get(md5=None)
    assert path.read_bytes() == CONTENT


def test_a_disk_without_room_is_told_before_anything_is_written(
    file_server, get, path, monkeypatch
) -> None:
    file_server.serve("/file", CONTENT)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"expected room for 51,200 bytes; got 1,000"):
        get()
    assert names(path) == []


def test_a_disk_that_fills_up_keeps_what_came(file_server, get, path, monkeypatch) -> None:
    file_server.serve("/file", CONTENT)

    def full(self: object, chunk: bytes) -> None:
        raise InputError("expected to write; got [Errno 28] No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("replay.public.partial.Partial.write", full)
        with pytest.raises(InputError, match="No space left"):
            get()
    get()
    assert path.read_bytes() == CONTENT


def test_a_write_error_is_ours(path) -> None:
    class Full:
        def write(self, chunk: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            """Has nothing to close."""

    with Partial(path) as partial:
        partial._file.close()
        partial._file = Full()
        with pytest.raises(InputError, match="make room, then give the same command again"):
            partial.write(b"x")


def test_two_at_once_do_not_write_the_same_file(file_server, get, path) -> None:
    file_server.serve("/file", CONTENT)
    with Partial(path), pytest.raises(InputError, match="another process that writes"):
        get()


def test_an_absent_folder_is_told(patient_web, tmp_path, naps) -> None:
    wanted = Wanted("http://127.0.0.1:1/file", tmp_path / "absent" / "file")
    with pytest.raises(InputError, match="folder that can be written"):
        download(wanted, patient_web, silent, patience=PATIENCE, sleep=naps)

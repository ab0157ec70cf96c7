"""A file from a web server, whole and as published, however often the connection breaks off."""

import hashlib
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from replay.public.partial import Origin, Partial, first_byte
from replay.public.web import Answer, InterruptedDownloadError, Patience, Web
from streams.errors import DownloadError, InputError

logger = logging.getLogger(__name__)

CHUNK_NBYTES = 1 << 20

Track = Callable[[int, int | None], None]
"""Shows progress: so many things of so many, where that is known."""

Show = Callable[[str], AbstractContextManager[Track]]
"""Opens what shows the progress of something that has a name, for as long as it takes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a download is to end with.

    Args:
        url: where the bytes are.
        path: where to put them.
        md5: the published checksum; None where there is none to compare with.
        nbytes: the published size; None where there is none.
    """

    url: str
    path: Path
    md5: str | None = None
    nbytes: int | None = None


@dataclass(frozen=True, slots=True)
class Digests:
    """Size and checksums of a file, in hexadecimal digits.

    Args:
        nbytes: its size.
        md5: what Zenodo publishes. It finds damage; it doesn't hinder a forger.
        sha256: what a forger can't match.
    """

    nbytes: int
    md5: str
    sha256: str


def digests_of(path: Path, show: Show, name: str = "") -> Digests:
    """Returns size and checksums of a file, from one pass over it.

    Args:
        path: the file.
        show: shows progress in bytes.
        name: of the file, as the user knows it; empty for the path's own.

    Raises:
        InputError: it can't be read.
    """
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    done = 0
    try:
        total = path.stat().st_size
        with path.open("rb") as file, show(f"checking {name or path.name}") as track:
            while chunk := file.read(CHUNK_NBYTES):
                md5.update(chunk)
                sha256.update(chunk)
                done += len(chunk)
                track(done, total)
    except OSError as error:
        raise InputError(f"expected a readable file; got {error}; at {path}") from error
    return Digests(done, md5.hexdigest(), sha256.hexdigest())


def download(
    wanted: Wanted,
    web: Web,
    show: Show,
    *,
    patience: Patience,
    sleep: Callable[[float], None] = time.sleep,
) -> Digests:
    """Fetches a file, going on where an earlier call stopped; returns its checksums.

    Bytes from before are gone on with if the server vouches that they are of the same version
    (If-Range with a strong ETag or the time of the last change), or if a published checksum will
    tell; else, and where the server ignores ranges, the file is fetched from its begin. It appears
    under its name when it is complete and its checksum is the published one; until then its bytes
    are in ``NAME.partial``, which stays when the call fails for want of a connection or of room.

    Args:
        wanted: what and where to; an existing file of that name is replaced.
        web: the client.
        show: shows progress in bytes.
        patience: how often to try again.
        sleep: waits, seconds.

    Raises:
        InterruptedDownloadError: the server can't be reached or broke off too often.
        DownloadError: it has no such file, or one of another size or checksum than published;
            nothing is left of that.
        InputError: the folder can't be written or is too small, or another process is at it.
    """
    with Partial(wanted.path) as partial:
        while True:
            with show(f"fetching {wanted.path.name}") as track:
                _complete(partial, wanted, web, track, (patience, sleep))
            digests = digests_of(partial.path, show, wanted.path.name)
            if wanted.md5 is None or digests.md5 == wanted.md5:
                partial.finish()
                return digests
            was_pieced = partial.is_pieced
            partial.restart()
            if not was_pieced:
                raise DownloadError(
                    f"expected the published MD5 {wanted.md5}; got {digests.md5} "
                    f"({digests.nbytes:,} bytes, SHA-256 {digests.sha256}); from {wanted.url}; "
                    f"nothing was kept"
                )
            # Perhaps the pieces are of two versions, or one was damaged: once more, in one go.
            logger.warning(
                "the pieces make another file: from the begin", extra={"md5": digests.md5}
            )


def _complete(
    partial: Partial,
    wanted: Wanted,
    web: Web,
    track: Track,
    trying: tuple[Patience, Callable[[float], None]],
) -> None:
    """Fetches what is missing, trying again."""
    patience, sleep = trying
    farthest, failures = partial.nbytes, 0
    while not _has_all(partial, wanted):
        try:
            if _continue(partial, wanted, web, track):
                return
        except InterruptedDownloadError as error:
            failures = 1 if partial.nbytes > farthest else failures + 1
            farthest = max(farthest, partial.nbytes)
            if failures >= patience.tries:
                error.add_note(_what_now(partial, wanted))
                raise
            wait_s = patience.wait_s(failures, error.after_s)
            logger.warning(
                "interrupted: %s", error, extra={"nbytes": partial.nbytes, "wait_s": wait_s}
            )
            sleep(wait_s)


def _has_all(partial: Partial, wanted: Wanted) -> bool:
    """Whether an earlier call got all and was stopped before it could say so."""
    origin = partial.origin
    return origin is not None and origin.url == wanted.url and origin.total == partial.nbytes


def _continue(partial: Partial, wanted: Wanted, web: Web, track: Track) -> bool:
    """Asks once for what is missing; returns whether the file is complete.

    Where it turns out that the bytes from before can't be gone on with, they are forgotten and the
    next call asks for the whole file.
    """
    headers = _range_of(partial, wanted)
    with web.get(wanted.url, headers) as answer:
        origin = Origin.of(wanted.url, answer.headers)
        if answer.status == 200:
            if headers:
                logger.info("the server sends the file from its begin", extra={"url": wanted.url})
            partial.begin(origin)
        elif not headers:
            raise DownloadError(f"expected a file; got {answer.status}; at {wanted.url}")
        elif answer.status == 416 or not _fits(partial, origin, answer):
            partial.restart()
            return False
        else:
            partial.go_on()
        _require_size_and_room(origin, partial, wanted)
        for chunk in answer.chunks:
            partial.write(chunk)
            track(partial.nbytes, origin.total)
    return _is_complete(partial, origin, wanted)


def _range_of(partial: Partial, wanted: Wanted) -> dict[str, str]:
    """Returns the headers that ask for the rest alone; none where that can't be trusted."""
    origin = partial.origin
    if not partial.nbytes or origin is None or origin.url != wanted.url:
        return {}  # bytes of another server are of no use
    wants_rest = {"Range": f"bytes={partial.nbytes}-"}
    if origin.validator:
        return wants_rest | {"If-Range": origin.validator}
    return wants_rest if wanted.md5 else {}


def _fits(partial: Partial, origin: Origin, answer: Answer) -> bool:
    """Whether a part goes on where ours ends, in the same version of the file."""
    before = partial.origin
    return (
        before is not None
        and first_byte(answer.headers, origin.url) == partial.nbytes
        and before.total in (None, origin.total)
        and origin.validator in ("", before.validator)  # a part needn't say it again
    )


def _require_size_and_room(origin: Origin, partial: Partial, wanted: Wanted) -> None:
    if origin.total is None:
        return
    if wanted.nbytes is not None and origin.total != wanted.nbytes:
        raise DownloadError(
            f"expected the published {wanted.nbytes:,} bytes; got a file of {origin.total:,}; at "
            f"{wanted.url}"
        )
    missing = origin.total - partial.nbytes
    free = shutil.disk_usage(wanted.path.parent).free
    if missing > free:
        raise InputError(
            f"expected room for {missing:,} bytes; got {free:,}; in {wanted.path.parent}; make "
            f"room or choose another --folder"
        )


def _is_complete(partial: Partial, origin: Origin, wanted: Wanted) -> bool:
    """Whether all has come; where nobody said how much that is, the end of the answer counts.

    Raises:
        InterruptedDownloadError: less has come than was announced.
        DownloadError: more has come.
    """
    expected = origin.total if origin.total is not None else wanted.nbytes
    if expected is None or partial.nbytes == expected:
        return True
    if partial.nbytes < expected:
        raise InterruptedDownloadError(
            f"expected {expected:,} bytes; got {partial.nbytes:,}; from {wanted.url}"
        )
    partial.restart()
    raise DownloadError(f"expected {expected:,} bytes; got more; from {wanted.url}")


def _what_now(partial: Partial, wanted: Wanted) -> str:
    if partial.nbytes:
        kept = f"  {partial.nbytes:,} bytes are kept in {partial.path}: give the same command again"
    else:
        kept = "  give the same command again when the server can be reached"
    return (
        f"{kept}\n  or put a copy from elsewhere at {wanted.path}, and check it with "
        f"'onlineflows data verify {wanted.path}'"
    )

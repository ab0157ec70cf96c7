"""What has come of a file so far, under a name of its own, and of which version it is.

Beside ``NAME`` there is ``NAME.partial``, with the bytes, and ``NAME.partial.json``, with the
address and what the server said of the version. Both are gone once the file is complete.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from replay.sinks.atomic import complete, hold
from streams.errors import DownloadError, InputError

NUMBER = r"[0-9]{1,18}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Which version of which file the bytes are of.

    Args:
        url: its address.
        validator: what the server calls the version: a strong ETag, or the time of its last
            change; empty where it says neither.
        total: bytes of the whole file; None where the server doesn't say.
    """

    url: str
    validator: str = ""
    total: int | None = None

    @classmethod
    def of(cls, url: str, headers: Mapping[str, str]) -> Self:
        """Returns the origin that an answer's headers tell of (RFC 9110, 8.8 and 14.4)."""
        etag = headers.get("etag", "")
        # A weak ETag may stand for other bytes of the same meaning: it can't be resumed by.
        strong = "" if etag.startswith("W/") else etag
        return cls(url, strong or headers.get("last-modified", ""), _total(headers, url))


class Partial:
    """The unfinished file; a context manager that keeps what has come.

    Args:
        path: the final name.

    Attributes:
        nbytes: how many bytes have come.
        is_pieced: whether they are of more than one answer, or of an earlier process.
        origin: what they are of; None where there are none.

    Raises:
        InputError: the folder can't be written, or another process is busy with the same file.
    """

    def __init__(self, path: Path) -> None:
        self._final = path
        self.path = path.with_name(f"{path.name}.partial")
        self._note = path.with_name(f"{path.name}.partial.json")
        try:
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise InputError(
                f"expected a folder that can be written; got {error}; for {path}"
            ) from error
        hold(self._file, self.path)
        self.nbytes = self.path.stat().st_size
        self.is_pieced = self.nbytes > 0
        self.origin = self._read_note()
        if self.origin is None and self.nbytes:
            self.restart()  # nobody knows what these bytes are of

    def begin(self, origin: Origin) -> None:
        """Forgets all bytes: those that come are the first ones of this origin.

        Raises:
            InputError: the disk is full or not writable.
        """
        self.restart()
        self._write_note(origin)
        self.origin = origin

    def go_on(self) -> None:
        """Says that the bytes that come are of another answer than those that are there."""
        self.is_pieced = True

    def restart(self) -> None:
        """Forgets all bytes, and what they were of."""
        self._note.unlink(missing_ok=True)
        self._file.truncate(0)
        self.nbytes = 0
        self.is_pieced = False
        self.origin = None

    def write(self, chunk: bytes) -> None:
        """Appends bytes.

        Raises:
            InputError: the disk is full or not writable; what came before is kept.
        """
        try:
            left = memoryview(chunk)
            while left:
                written = self._file.write(left)
                left = left[written:]
                self.nbytes += written
        except OSError as error:
            raise InputError(
                f"expected to write {self.path}; got {error}; make room, then give the same "
                f"command again"
            ) from error

    def finish(self) -> None:
        """Gives the file its final name.

        Raises:
            InputError: the disk is full or not writable.
        """
        try:
            complete(self.path, self._final)
        except OSError as error:
            raise InputError(f"expected to write {self._final}; got {error}") from error
        self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Removes the unfinished file."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if self.nbytes == 0:
            self.discard()

    def _read_note(self) -> Origin | None:
        """Returns the origin that was noted; None where there is no sensible note."""
        try:
            note = json.loads(self._note.read_text("utf-8"))
            origin = Origin(**note)
        except (OSError, ValueError, TypeError):
            return None
        is_sane = isinstance(origin.url, str) and isinstance(origin.validator, str)
        return origin if is_sane and isinstance(origin.total, int | None) else None

    def _write_note(self, origin: Origin) -> None:
        temporary = self._note.with_name(f"{self._note.name}.new")
        try:
            temporary.write_text(json.dumps(asdict(origin)), "utf-8")
            complete(temporary, self._note)
        except OSError as error:
            raise InputError(
                f"expected a folder that can be written; got {error}; for {self._note}"
            ) from error


def first_byte(headers: Mapping[str, str], url: str) -> int | None:
    """Returns where the part begins that an answer brings; None where it brings none.

    Raises:
        DownloadError: the header makes no sense.
    """
    found = _content_range(headers, url)
    return found and found[0]


def _total(headers: Mapping[str, str], url: str) -> int | None:
    """Returns the size of the whole file: of a part's range, or else the length of the body."""
    if (found := _content_range(headers, url)) is not None:
        return found[1]
    length = headers.get("content-length", "")
    if not length:
        return None
    if not re.fullmatch(NUMBER, length):
        raise DownloadError(f"expected a number in Content-Length; got {length!r}; at {url}")
    return int(length)


def _content_range(headers: Mapping[str, str], url: str) -> tuple[int | None, int | None] | None:
    """Returns the first byte of a part and the size of the whole, each None where it isn't told."""
    text = headers.get("content-range")
    if text is None:
        return None
    found = re.fullmatch(rf"bytes (?:({NUMBER})-{NUMBER}|\*)/({NUMBER}|\*)", text.strip())
    if found is None:
        raise DownloadError(
            f"expected a Content-Range such as 'bytes 100-199/200'; got {text!r}; at {url}"
        )
    first, total = found.groups()
    return None if first is None else int(first), None if total == "*" else int(total)

"""Files that must stay as they were when the run began: cheap stamps, and digests of the bytes.

The digests of the begin of run name the input; a bit that flips in a compressed file is otherwise
read without an error. In the middle of a run a stamp is compared with each block that is read,
which costs a microsecond or two and sees everything but a change that hides its traces.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from streams import InputError, SourceFile

CHUNK_NBYTES = 16 << 20
ADVICE = "the file was changed during the run; put it back, then go on with --resume"


@runtime_checkable
class Verifiable(Protocol):
    """A source that can say whether its files still have the digests that it began with."""

    def verify(self) -> Iterator[None]:
        """Reads all files again, for their digests alone; yields now and then.

        Raises:
            InputError: one has another digest, or is gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the file system says of a file; another one means other content, as far as it can tell.

    Args:
        nbytes: its size.
        modified_ns: when it was last written, Unix nanoseconds.
        device, inode: which file it is: a new one under an old name has another number.
    """

    nbytes: int
    modified_ns: int
    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Returns the stamp that a file has now.

        Raises:
            InputError: it is gone, or out of reach.
        """
        try:
            found = path.stat()
        except OSError as error:
            raise InputError(
                f"expected a readable file; got {error.strerror or error}; at {path}"
            ) from error
        return cls(found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino)

    def require(self, path: Path, where: str) -> None:
        """Checks that a file is the one that had this stamp.

        Args:
            path: the file.
            where: the rows that are being read, for the message.

        Raises:
            InputError: it was written to, cut, replaced or deleted.
        """
        try:
            now = Stamp.of(path)
        except InputError as error:
            raise InputError(f"{error}, {where}; {ADVICE}") from error
        if now == self:
            return
        changed = [f.name for f in fields(self) if getattr(now, f.name) != getattr(self, f.name)]
        found = ", ".join(f"{n} {getattr(self, n)} -> {getattr(now, n)}" for n in changed)
        raise InputError(
            f"expected the file as it was at the begin of the run; got {found}; at {path}, "
            f"{where}; {ADVICE}"
        )


def describe(path: Path, stamp: Stamp | None = None) -> SourceFile:
    """Returns name, size and SHA-256 of a file.

    Args:
        path: the file.
        stamp: the one that it must have, before and after its bytes were read; None for any.

    Raises:
        InputError: it can't be read, or was changed.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found = SourceFile(path.name, path.stat().st_size, digest)
    except OSError as error:
        raise InputError(f"expected a readable file; got {error}; at {path}") from error
    if stamp is not None:
        stamp.require(path, "while its digest was computed")
    return found


def verify(paths: Sequence[Path], expected: Sequence[SourceFile]) -> Iterator[None]:
    """Reads files again and compares their digests; yields every `CHUNK_NBYTES`, so that whoever
    asks can do something else in between.

    Raises:
        InputError: one has another digest, or is gone.
    """
    for path, file in zip(paths, expected, strict=True):
        digest = hashlib.sha256()
        try:
            with path.open("rb") as opened:
                while chunk := opened.read(CHUNK_NBYTES):
                    digest.update(chunk)
                    yield
        except OSError as error:
            raise InputError(f"expected a readable file; got {error}; at {path}") from error
        if digest.hexdigest() != file.sha256:
            raise InputError(
                f"expected SHA-256 {file.sha256}, as at the begin of the run; got "
                f"{digest.hexdigest()}; at {path}; {ADVICE}"
            )

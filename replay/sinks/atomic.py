"""What all sinks share: a temporary name, renamed when the file is complete."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from streams import EventSchema, InputError

LABEL = "label"


class Writer(Protocol):
    """One open file of some format; created when the first events come."""

    def __init__(self, path: Path, names: tuple[str, ...], *, has_label: bool) -> None:
        """Creates the file with one column per name and maybe a label."""
        ...

    def append(self, x: NDArray[np.float32], label: NDArray[np.uint8] | None) -> None:
        """Appends events, shape (n, d), and their labels, shape (n,), if the file has them."""
        ...

    def finish(self) -> None:
        """Completes and closes the file."""
        ...


class AtomicSink:
    """A `streams.Sink`: the file appears under its name when it is complete, or not at all.

    As a context manager it is closed at the end, or, if an exception passes, discarded.

    Args:
        path: the final name.
        schema: what the events are.
        writer: the format.

    Raises:
        InputError: the folder doesn't exist or the schema names a feature ``label``.
    """

    def __init__(self, path: Path, schema: EventSchema, writer: type[Writer]) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._schema = schema
        self._create = writer
        self._writer: Writer | None = None
        self._has_label = False
        self._is_closed = False
        if not path.parent.is_dir():
            raise InputError(
                f"expected an existing folder; got {str(path.parent)!r}; for {path.name}; create it"
            )
        if LABEL in schema.names:
            raise InputError(f"expected features other than {LABEL!r}; got {schema.names}")

    def write(self, x: NDArray[np.float32], label: NDArray[np.uint8] | None = None) -> None:
        """Appends events; either every call has labels or none.

        Args:
            x: features, shape (n, d), in the schema's units.
            label: truth, shape (n,).

        Raises:
            InputError: wrong shapes, labels come and go, or the disk is full or not writable.
        """
        if self._is_closed:
            raise InputError(f"expected an open sink; got a closed one; for {self._path}")
        if x.ndim != 2 or x.shape[1] != self._schema.n_features:
            raise InputError(
                f"expected events of shape (n, {self._schema.n_features}); got {x.shape}; "
                f"for {self._path}"
            )
        if label is not None and label.shape != (len(x),):
            raise InputError(f"expected {len(x)} labels; got {label.shape}; for {self._path}")
        with self._translated():
            writer = self._open(has_label=label is not None)
            if self._has_label != (label is not None):
                raise InputError(
                    f"expected labels with all events or with none; got both; for {self._path}"
                )
            writer.append(np.ascontiguousarray(x, dtype=np.float32), label)

    def close(self) -> None:
        """Completes the file under its final name; safe to call twice.

        Raises:
            InputError: the disk is full or not writable; no file is left.
        """
        if self._is_closed:
            return
        with self._translated():
            self._open(has_label=False).finish()
            complete(self._temporary, self._path)
        self._is_closed = True

    def discard(self) -> None:
        """Closes and removes the unfinished file; safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._writer is not None:
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                self._writer.finish()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _open(self, *, has_label: bool) -> Writer:
        if self._writer is None:
            self._has_label = has_label
            self._writer = self._create(self._temporary, self._schema.names, has_label=has_label)
        return self._writer

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turns what the formats' libraries raise into InputError, and leaves no file behind."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            self.discard()
            raise InputError(
                f"expected to write {self._path}; got {error}; is the folder writable and the "
                f"disk not full?"
            ) from error


def complete(temporary: Path, path: Path) -> None:
    """Gives a complete file its final name, once its bytes are on the disk.

    Raises:
        OSError: the disk is full or not writable.
    """
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def hold(file: IO[bytes], path: Path) -> None:
    """Keeps other processes from an unfinished file for as long as it is open here.

    Raises:
        InputError: another one holds it, or has finished it since it was opened; the file is
            closed.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file.fileno()).st_ino != path.stat().st_ino:
            raise FileNotFoundError(path)
    except OSError as error:
        file.close()
        raise InputError(
            f"expected to be alone with a file; got another process that writes it; at {path}; "
            f"wait for that"
        ) from error

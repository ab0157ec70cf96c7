"""Structured logs: one line per record, ``key=value`` or JSON, on standard error.

Modules log with the standard library alone and put numbers into `extra`, with the unit in the
key: ``logger.info("snapshot written", extra={"n_events": 200_000, "size_nbytes": 81_920})``.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

from rich.console import Console
from rich.file_proxy import FileProxy

PACKAGES = ("streams", "replay", "onlineflows")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LineFormatter(logging.Formatter):
    """Writes a record as one line of ``key=value``; a traceback follows on lines of its own.

    Example:
        >>> fields = {"name": "replay", "levelname": "INFO", "msg": "run started", "created": 0}
        >>> record = logging.makeLogRecord({**fields, "run": 7})
        >>> print(LineFormatter().format(record))
        time=1970-01-01T00:00:00.000Z level=info logger=replay event="run started" run=7
    """

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line = " ".join(f"{key}={_quoted(value)}" for key, value in _fields(record).items())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object on one line; a traceback is one of its strings."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        fields = _fields(record)
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def configure_logging(
    *, as_json: bool = False, quiet: bool = False, stream: TextIO | None = None
) -> None:
    """Sends the records of the three packages to a stream; called once per process.

    Args:
        as_json: one JSON object per line in place of ``key=value``.
        quiet: warnings and errors only.
        stream: where to; None for standard error.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else LineFormatter())
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.WARNING if quiet else logging.INFO)


@contextmanager
def logging_through(console: Console) -> Iterator[None]:
    """Writes records above what a console keeps at the bottom of a terminal, while the block runs.

    Args:
        console: what draws there.
    """
    handlers = {
        handler
        for name in PACKAGES
        for handler in logging.getLogger(name).handlers
        if isinstance(handler, logging.StreamHandler)
    }
    proxy = FileProxy(console, sys.stderr)
    before = {handler: handler.setStream(proxy) for handler in handlers}
    try:
        yield
    finally:
        for handler, stream in before.items():
            handler.setStream(stream or sys.stderr)


def label_records(**fields: object) -> None:
    """Puts keys into every further record of this process, such as the lane of a learner."""

    def label(record: logging.LogRecord) -> bool:
        vars(record).update(fields)
        return True

    for handler in {h for name in PACKAGES for h in logging.getLogger(name).handlers}:
        handler.addFilter(label)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a record says: when, how grave, who, what, and its own keys."""
    when = datetime.fromtimestamp(record.created, UTC)
    own = {k: v for k, v in vars(record).items() if k not in _STANDARD}
    return {
        "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": record.getMessage(),
        **own,
    }


def _quoted(value: Any) -> str:
    """The value without blanks or line breaks outside quotes."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    plain = text and text.isprintable() and not any(c in ' "=' for c in text)
    return text if plain else json.dumps(text, ensure_ascii=False)

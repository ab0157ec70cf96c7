"""Log lines: one per record, readable by people and by machines."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from onlineflows.cli.logs import (
    PACKAGES,
    JsonFormatter,
    LineFormatter,
    configure_logging,
    label_records,
)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Gives the packages' loggers back as they were."""
    loggers = [logging.getLogger(name) for name in PACKAGES]
    before = [(x.handlers, x.propagate, x.level) for x in loggers]
    yield
    for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def record(**fields: object) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "replay", "levelname": "INFO", "created": 0.0, **fields})


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (7, "7"),
        (0.123456789, "0.123457"),
        ("plain", "plain"),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("two\nlines", '"two\\nlines"'),
        ("", '""'),
        ("θ", "θ"),
    ],
)
def test_a_value_is_quoted_where_it_must_be(value: object, written: str) -> None:
    assert LineFormatter().format(record(msg="m", key=value)).endswith(f" key={written}")


def test_a_record_is_one_line() -> None:
    assert "\n" not in LineFormatter().format(record(msg="one\ntwo", key="three\nfour"))


def test_arguments_go_into_the_message() -> None:
    assert 'event="run 7"' in LineFormatter().format(record(msg="run %d", args=(7,)))


def test_a_json_line_holds_the_records_own_fields() -> None:
    line = JsonFormatter().format(record(msg="sent", n_events=5, rate_hz=1.5))
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.000Z",
        "level": "info",
        "logger": "replay",
        "event": "sent",
        "n_events": 5,
        "rate_hz": 1.5,
    }


def test_a_traceback_stays_inside_its_json_line() -> None:
    stream = io.StringIO()
    configure_logging(as_json=True, stream=stream)
    try:
        int("why")
    except ValueError:
        logging.getLogger("streams.x").exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["traceback"]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_speak(package: str) -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    logging.getLogger(f"{package}.part").info("hello", extra={"n": 1})
    assert stream.getvalue().endswith("event=hello n=1\n")


def test_quiet_leaves_warnings() -> None:
    stream = io.StringIO()
    configure_logging(quiet=True, stream=stream)
    logging.getLogger("replay").info("sent")
    logging.getLogger("replay").warning("lost")
    assert [line.split("event=")[1] for line in stream.getvalue().splitlines()] == ["lost"]


def test_configuring_twice_does_not_double_the_lines() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    configure_logging(stream=stream)
    logging.getLogger("replay").info("once")
    assert len(stream.getvalue().splitlines()) == 1


def test_a_label_is_in_every_line() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    label_records(lane=1)
    logging.getLogger("replay").info("hello")
    logging.getLogger("streams.x").info("there", extra={"n": 2})
    first, second = stream.getvalue().splitlines()
    assert first.endswith("event=hello lane=1")
    assert second.endswith("event=there n=2 lane=1")
